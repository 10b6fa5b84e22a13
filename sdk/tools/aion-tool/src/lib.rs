//! What a tool needs and nothing more: a JSON value, the entry convention of the tool runner, and `syscall`.
//!
//! A wasm tool writes `aion_tool::export!(run);` where `run` takes the call's [`Json`] input
//! `{"params": …, "config": …}` and answers its result or a [`Failure`]. The module is instantiated afresh for
//! every call, so nothing is ever freed and no state survives: keep none.

pub mod json;
#[cfg(target_arch = "wasm32")]
pub mod wasm;

pub use json::Json;

/// Why a call failed: `code` is one of the contract's (`E_UPSTREAM`, `E_PARAMS`, or what a nested syscall answered).
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub code: String,
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Failure {
        Failure { code: code.to_string(), message: message.into() }
    }

    pub fn upstream(message: impl Into<String>) -> Failure {
        Failure::new("E_UPSTREAM", message)
    }

    pub fn params(message: impl Into<String>) -> Failure {
        Failure::new("E_PARAMS", message)
    }
}

/// One call from input bytes to output bytes; pure, so that a tool is tested without wasm.
pub fn answer(input: &[u8], run: impl FnOnce(&Json) -> Result<Json, Failure>) -> Vec<u8> {
    let outcome = match json::parse(input) {
        Ok(value) => run(&value),
        Err(reason) => Err(Failure::new("E_BAD_REQUEST", reason)),
    };
    let document = match outcome {
        Ok(result) => Json::object([("result", result)]),
        Err(failure) => Json::object([(
            "error",
            Json::object([("code", failure.code.into()), ("message", failure.message.into())]),
        )]),
    };
    document.to_string().into_bytes()
}

/// Ask the kernel for something: the caller's policy, budget and audit apply, and the Tool's own capabilities.
#[cfg(target_arch = "wasm32")]
pub fn syscall(name: &str, params: Json) -> Result<Json, Failure> {
    let request = Json::object([("syscall", name.into()), ("params", params)]);
    settle(&wasm::ask(request.to_string().as_bytes()))
}

/// Read the answer of a nested syscall.
pub fn settle(answer: &[u8]) -> Result<Json, Failure> {
    let answer = json::parse(answer).map_err(Failure::upstream)?;
    if answer["status"].as_str() == Some("ok") {
        return Ok(answer["result"].clone());
    }
    let error = &answer["error"];
    Err(Failure::new(
        error["code"].as_str().unwrap_or("E_UPSTREAM"),
        error["message"].as_str().unwrap_or("the nested syscall failed without a reason"),
    ))
}
