//! `web_search {query, limit?}` -> `{items: [{title, url, snippet, engine, score}]}`.
//!
//! Asks the SearxNG-compatible API at `config.searchUrl` by a nested `net.fetch`: the tool owns no socket.

use aion_tool::{json, Failure, Json};

const DEFAULT_LIMIT: usize = 10;
const MOST: f64 = 50.0;

/// The request to make for one call's input.
pub fn request(input: &Json) -> Result<(Json, usize), Failure> {
    let query = input["params"]["query"].as_str().map(str::trim).unwrap_or("");
    if query.is_empty() {
        return Err(Failure::params("query: expected a text that is not empty"));
    }
    let limit = match &input["params"]["limit"] {
        Json::Null => DEFAULT_LIMIT,
        Json::Number(n) if *n >= 1.0 && *n <= MOST && n.fract() == 0.0 => *n as usize,
        other => return Err(Failure::params(format!("limit: expected a whole number from 1 to 50, got {}", other))),
    };
    let base = input["config"]["searchUrl"].as_str().unwrap_or("").trim_end_matches('/');
    if base.is_empty() {
        return Err(Failure::upstream("the Tool has no spec.config.searchUrl: set it to a SearxNG-compatible server"));
    }
    let url = format!("{}/search?q={}&format=json", base, percent_encode(query));
    Ok((Json::object([("url", url.into()), ("method", "GET".into())]), limit))
}

/// The tool's result from what `net.fetch` answered.
pub fn items(fetched: &Json, limit: usize) -> Result<Json, Failure> {
    let status = fetched["status"].as_f64().unwrap_or(0.0);
    if status != 200.0 {
        return Err(Failure::upstream(format!("the search server answered HTTP {}, expected 200", status)));
    }
    let body = fetched["body"].as_str().unwrap_or("");
    let found = json::parse(body.as_bytes())
        .map_err(|reason| Failure::upstream(format!("the search server's answer is {}", reason)))?;
    let results = found["results"]
        .as_list()
        .ok_or_else(|| Failure::upstream("the search server's answer has no list `results`: is it SearxNG with format=json allowed?"))?;
    let items: Vec<Json> = results
        .iter()
        .filter(|one| one["url"].as_str().is_some())
        .take(limit)
        .map(|one| {
            Json::object([
                ("title", one["title"].as_str().unwrap_or("").into()),
                ("url", one["url"].clone()),
                ("snippet", one["content"].as_str().unwrap_or("").into()),
                ("engine", one["engine"].as_str().unwrap_or("").into()),
                ("score", one["score"].as_f64().unwrap_or(0.0).into()),
            ])
        })
        .collect();
    Ok(Json::object([("items", items.into())]))
}

fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            out.push_str(&format!("%{:02X}", byte));
        }
    }
    out
}

#[cfg(target_arch = "wasm32")]
fn run(input: &Json) -> Result<Json, Failure> {
    let (wanted, limit) = request(input)?;
    items(&aion_tool::syscall("net.fetch", wanted)?, limit)
}

#[cfg(target_arch = "wasm32")]
aion_tool::export!(run);

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Json {
        json::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_query_becomes_an_encoded_url() {
        let (wanted, limit) = request(&input(r#"{"params":{"query":"a b&é"},"config":{"searchUrl":"http://s/"}}"#)).unwrap();
        assert_eq!(wanted["url"].as_str(), Some("http://s/search?q=a%20b%26%C3%A9&format=json"));
        assert_eq!(limit, DEFAULT_LIMIT);
    }

    #[test]
    fn what_cannot_be_asked_is_refused_before_anything_is_fetched() {
        for bad in [
            r#"{"params":{},"config":{"searchUrl":"http://s"}}"#,
            r#"{"params":{"query":" "},"config":{"searchUrl":"http://s"}}"#,
            r#"{"params":{"query":"a","limit":0},"config":{"searchUrl":"http://s"}}"#,
            r#"{"params":{"query":"a"},"config":{}}"#,
        ] {
            assert!(request(&input(bad)).is_err(), "{}", bad);
        }
    }

    #[test]
    fn a_bad_upstream_is_named() {
        assert!(items(&input(r#"{"status":503,"body":""}"#), 5).unwrap_err().message.contains("503"));
        assert!(items(&input(r#"{"status":200,"body":"<html>"}"#), 5).unwrap_err().message.contains("not JSON"));
        assert!(items(&input(r#"{"status":200,"body":"{}"}"#), 5).unwrap_err().message.contains("results"));
    }
}
