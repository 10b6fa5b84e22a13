//! `word_count {text}` -> `{words, lines, bytes}`: a native tool, one JSON document in on stdin, one out on stdout.

use aion_tool::{answer, Failure, Json};
use std::io::{self, Read, Write};

fn count(input: &Json) -> Result<Json, Failure> {
    let text = input["params"]["text"].as_str().ok_or_else(|| Failure::params("text: expected a text"))?;
    Ok(Json::object([
        ("words", (text.split_whitespace().count() as f64).into()),
        ("lines", (text.lines().count() as f64).into()),
        ("bytes", (text.len() as f64).into()),
    ]))
}

fn main() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().read_to_end(&mut input)?;
    io::stdout().write_all(&answer(&input, count))
}
