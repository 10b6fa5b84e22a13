"""The test server itself: real, and an administrator's."""

import pytest

pytestmark = pytest.mark.apiserver


def test_the_test_server_answers_as_a_real_one(apiserver):
    assert "gitVersion" in apiserver.kubectl("get", "--raw", "/version").stdout
    assert "priorityclasses" in apiserver.kubectl("api-resources", "-o", "name").stdout


def test_a_failing_kubectl_says_what_the_server_said(apiserver):
    with pytest.raises(AssertionError, match="NotFound"):
        apiserver.kubectl("get", "pod", "-n", "default", "nothing-here")
