"""Where model.generate goes: backends of three kinds, chosen, asked, read and paid for.

In the order a call meets them: `pricing` (what it may cost at most, by `estimate`, and what it did cost) · `exchange` (the
rim: one HTTP client, keys, attempts) · `attempts` (what a failure means and when to ask again) and `breaker` (whom not to
ask for a while), both pure · `kinds` (what each kind of backend must translate) by `openai`, `ollama`, `anthropic`, pure ·
`reading` (an answer that streams: whole events by `frames`, relayed or read into chunks, counted as they pass) ·
`standin` a small server that answers like all three, for tests, benchmarks and demonstrations.

Apart from `model_generate`, which every gateway loads: all of this is loaded at the first call. It must never follow a
redirect, for a key would go with it, and never repeat a question once a byte of the answer has come.
"""
