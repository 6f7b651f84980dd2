//! The prices that come with the gateway, one row each.
//!
//! Invariant: a row says only what the provider's own page of prices said on the day it names: standard processing, in
//! micro-dollars per million tokens. A model whose price hangs on more than its counts of tokens (DeepSeek's on the hour
//! and China's holidays, Perplexity's on how much it searched, others' on a tier of service) has no row.

use super::{PriceRow, Rates};

const OPENAI: (&str, &str) = ("https://developers.openai.com/api/docs/pricing", "2026-08-27");
// Writing to the cache for five minutes; for an hour it costs twice what input does.
const ANTHROPIC: (&str, &str) = ("https://platform.claude.com/docs/en/about-claude/pricing", "2026-10-24");
// Of text; sound costs more, and so does keeping a cache by the hour.
const GOOGLE: (&str, &str) = ("https://ai.google.dev/gemini-api/docs/pricing", "2026-07-04");

/// A row of rates for input, output, what is read from and what is written to the cache. Reasoning costs what any output
/// costs, at all of them.
const fn row(
    provider: &'static str,
    model: &'static str,
    above: u64,
    [input, output, cached, cache_write]: [u64; 4],
    (source, read_on): (&'static str, &'static str),
) -> PriceRow {
    let rates = Rates { input, output, cached, cache_write, cache_write_1h: cache_write, reasoning: output };
    PriceRow { provider, model, above, rates, source, read_on }
}

/// A row of Anthropic's.
const fn claude(model: &'static str, above: u64, rates: [u64; 4]) -> PriceRow {
    let row = row("anthropic", model, above, rates, ANTHROPIC);
    PriceRow { rates: Rates { cache_write_1h: 2 * row.rates.input, ..row.rates }, ..row }
}

/// The shipped prices.
pub const ROWS: &[PriceRow] = &[
    row("openai", "gpt-5.5", 0, [5_000_000, 30_000_000, 500_000, 5_000_000], OPENAI),
    row("openai", "gpt-5.5", 272_000, [10_000_000, 45_000_000, 1_000_000, 10_000_000], OPENAI),
    row("openai", "gpt-5.5-pro", 0, [30_000_000, 180_000_000, 30_000_000, 30_000_000], OPENAI),
    row("openai", "gpt-5.4", 0, [2_500_000, 15_000_000, 250_000, 2_500_000], OPENAI),
    row("openai", "gpt-5.4", 272_000, [5_000_000, 22_500_000, 500_000, 5_000_000], OPENAI),
    row("openai", "gpt-5.4-mini", 0, [750_000, 4_500_000, 75_000, 750_000], OPENAI),
    row("openai", "gpt-5.4-nano", 0, [200_000, 1_250_000, 20_000, 200_000], OPENAI),
    row("openai", "gpt-5.4-pro", 0, [30_000_000, 180_000_000, 30_000_000, 30_000_000], OPENAI),
    row("openai", "gpt-5.2", 0, [1_750_000, 14_000_000, 175_000, 1_750_000], OPENAI),
    row("openai", "gpt-5.2-pro", 0, [21_000_000, 168_000_000, 21_000_000, 21_000_000], OPENAI),
    row("openai", "gpt-5.1", 0, [1_250_000, 10_000_000, 125_000, 1_250_000], OPENAI),
    row("openai", "gpt-5", 0, [1_250_000, 10_000_000, 125_000, 1_250_000], OPENAI),
    row("openai", "gpt-5-mini", 0, [250_000, 2_000_000, 25_000, 250_000], OPENAI),
    row("openai", "gpt-5-nano", 0, [50_000, 400_000, 5_000, 50_000], OPENAI),
    row("openai", "gpt-5-pro", 0, [15_000_000, 120_000_000, 15_000_000, 15_000_000], OPENAI),
    row("openai", "gpt-4.1", 0, [2_000_000, 8_000_000, 500_000, 2_000_000], OPENAI),
    row("openai", "gpt-4.1-mini", 0, [400_000, 1_600_000, 100_000, 400_000], OPENAI),
    row("openai", "gpt-4.1-nano", 0, [100_000, 400_000, 25_000, 100_000], OPENAI),
    row("openai", "gpt-4o", 0, [2_500_000, 10_000_000, 1_250_000, 2_500_000], OPENAI),
    row("openai", "gpt-4o-mini", 0, [150_000, 600_000, 75_000, 150_000], OPENAI),
    row("openai", "o1", 0, [15_000_000, 60_000_000, 7_500_000, 15_000_000], OPENAI),
    row("openai", "o3", 0, [2_000_000, 8_000_000, 500_000, 2_000_000], OPENAI),
    row("openai", "o3-mini", 0, [1_100_000, 4_400_000, 550_000, 1_100_000], OPENAI),
    row("openai", "o4-mini", 0, [1_100_000, 4_400_000, 275_000, 1_100_000], OPENAI),
    row("openai", "text-embedding-3-small", 0, [20_000, 0, 20_000, 20_000], OPENAI),
    row("openai", "text-embedding-3-large", 0, [130_000, 0, 130_000, 130_000], OPENAI),
    row("openai", "text-embedding-ada-002", 0, [100_000, 0, 100_000, 100_000], OPENAI),
    claude("claude-fable-5-1", 0, [10_000_000, 50_000_000, 250_000, 12_500_000]),
    claude("claude-fable-5", 0, [10_000_000, 50_000_000, 1_000_000, 12_500_000]),
    claude("claude-mythos-5-1", 0, [10_000_000, 50_000_000, 250_000, 12_500_000]),
    claude("claude-mythos-5", 0, [10_000_000, 50_000_000, 1_000_000, 12_500_000]),
    claude("claude-opus-5-5", 0, [4_000_000, 20_000_000, 200_000, 5_000_000]),
    claude("claude-opus-5", 0, [5_000_000, 25_000_000, 500_000, 6_250_000]),
    claude("claude-opus-4-8", 0, [5_000_000, 25_000_000, 500_000, 6_250_000]),
    claude("claude-opus-4-7", 0, [5_000_000, 25_000_000, 500_000, 6_250_000]),
    claude("claude-opus-4-6", 0, [5_000_000, 25_000_000, 500_000, 6_250_000]),
    claude("claude-opus-4-5", 0, [5_000_000, 25_000_000, 500_000, 6_250_000]),
    claude("claude-opus-4-1", 0, [15_000_000, 75_000_000, 1_500_000, 18_750_000]),
    claude("claude-opus-4", 0, [15_000_000, 75_000_000, 1_500_000, 18_750_000]),
    claude("claude-sonnet-5-5", 0, [2_000_000, 10_000_000, 100_000, 2_500_000]),
    claude("claude-sonnet-5", 0, [2_000_000, 10_000_000, 200_000, 2_500_000]),
    claude("claude-sonnet-4-6", 0, [3_000_000, 15_000_000, 300_000, 3_750_000]),
    claude("claude-sonnet-4-5", 0, [3_000_000, 15_000_000, 300_000, 3_750_000]),
    claude("claude-sonnet-4", 0, [3_000_000, 15_000_000, 300_000, 3_750_000]),
    claude("claude-haiku-5-5", 0, [100_000, 500_000, 10_000, 125_000]),
    claude("claude-haiku-5-5", 100_000, [500_000, 2_500_000, 50_000, 625_000]),
    claude("claude-haiku-4-5", 0, [1_000_000, 5_000_000, 100_000, 1_250_000]),
    claude("claude-3-5-haiku", 0, [800_000, 4_000_000, 80_000, 1_000_000]),
    claude("claude-3-haiku", 0, [250_000, 1_250_000, 30_000, 300_000]),
    row("google", "gemini-3.5-flash", 0, [1_500_000, 9_000_000, 150_000, 1_500_000], GOOGLE),
    row("google", "gemini-3.1-pro-preview", 0, [2_000_000, 12_000_000, 200_000, 2_000_000], GOOGLE),
    row("google", "gemini-3.1-pro-preview", 200_000, [4_000_000, 18_000_000, 400_000, 4_000_000], GOOGLE),
    row("google", "gemini-3.1-flash-lite", 0, [250_000, 1_500_000, 25_000, 250_000], GOOGLE),
    row("google", "gemini-3-pro-preview", 0, [2_000_000, 12_000_000, 200_000, 2_000_000], GOOGLE),
    row("google", "gemini-3-pro-preview", 200_000, [4_000_000, 18_000_000, 400_000, 4_000_000], GOOGLE),
    row("google", "gemini-3-flash-preview", 0, [500_000, 3_000_000, 50_000, 500_000], GOOGLE),
    row("google", "gemini-2.5-pro", 0, [1_250_000, 10_000_000, 125_000, 1_250_000], GOOGLE),
    row("google", "gemini-2.5-pro", 200_000, [2_500_000, 15_000_000, 250_000, 2_500_000], GOOGLE),
    row("google", "gemini-2.5-flash", 0, [300_000, 2_500_000, 30_000, 300_000], GOOGLE),
    row("google", "gemini-2.5-flash-lite", 0, [100_000, 400_000, 10_000, 100_000], GOOGLE),
    row("google", "gemini-embedding-001", 0, [150_000, 0, 150_000, 150_000], GOOGLE),
];
