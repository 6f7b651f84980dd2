//! What models cost, as data.
//!
//! Invariant: money is counted in whole nano-dollars, rounded once for each request; a model without a row has no
//! price, which is not a price of zero.

mod rows;

use serde::Deserialize;
use serde_json::Number;
use std::collections::BTreeMap;

pub use rows::ROWS;

use crate::providers::OPENROUTER;
use crate::turn::Usage;

/// Nano-dollars in a dollar.
pub const NANO: u64 = 1_000_000_000;

/// Micro-dollars in a dollar.
const MICRO: u128 = 1_000_000;

/// What a model's tokens cost. All rates are in micro-dollars (millionths of a US dollar) per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Of the prompt.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// Of the part of the prompt that came from the provider's cache.
    pub cached: u64,
    /// Of the part of the prompt that was written to the provider's cache.
    pub cache_write: u64,
    /// Of what is kept there for an hour.
    pub cache_write_1h: u64,
    /// Of the part of the answer that was reasoning.
    pub reasoning: u64,
}

/// A shipped price.
#[derive(Debug)]
pub struct PriceRow {
    /// The provider's name.
    pub provider: &'static str,
    /// The model's name, without the date of a snapshot.
    pub model: &'static str,
    /// The row holds for prompts of more tokens than this.
    pub above: u64,
    /// The price.
    pub rates: Rates,
    /// Where it is published.
    pub source: &'static str,
    /// When it was read there.
    pub read_on: &'static str,
}

/// All prices of a deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// Those of the `PRICES` variable, by `provider/model`.
    own: Vec<(String, Rates)>,
}

/// One entry of the `PRICES` variable: dollars per million tokens.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    input: Number,
    output: Number,
    #[serde(default)]
    cached: Option<Number>,
    #[serde(default)]
    cache_write: Option<Number>,
    #[serde(default)]
    cache_write_1h: Option<Number>,
    #[serde(default)]
    reasoning: Option<Number>,
}

impl Prices {
    /// Reads the `PRICES` variable: a JSON object of `provider/model` (a `*` at the end stands for anything) to dollars
    /// per million tokens: `{"input":…,"output":…}`, and optionally `cached`, `cache_write` (both else as `input`),
    /// `cache_write_1h` (else as `cache_write`) and `reasoning` (else as `output`). Errors: what is wrong with it.
    pub fn read(text: &str) -> Result<Self, String> {
        let entries: BTreeMap<String, Declared> =
            serde_json::from_str(text).map_err(|error| format!("is not a JSON object of prices: {error}"))?;
        let mut own = Vec::with_capacity(entries.len());
        for (name, entry) in entries {
            if !name.contains('/') {
                return Err(format!("names `{name}`, which is not of the form provider/model"));
            }
            let rate = |number: &Number| {
                decimal(&number.to_string(), MICRO).and_then(|rate| u64::try_from(rate).ok()).ok_or_else(
                    || format!("gives `{name}` the price `{number}`, which is no amount of dollars"),
                )
            };
            let or = |number: &Option<Number>, otherwise: u64| number.as_ref().map_or(Ok(otherwise), rate);
            let (input, output) = (rate(&entry.input)?, rate(&entry.output)?);
            let cache_write = or(&entry.cache_write, input)?;
            let rates = Rates {
                input,
                output,
                cached: or(&entry.cached, input)?,
                cache_write,
                cache_write_1h: or(&entry.cache_write_1h, cache_write)?,
                reasoning: or(&entry.reasoning, output)?,
            };
            own.push((name, rates));
        }
        Ok(Prices { own })
    }

    /// The rates of a model for a prompt of so many tokens. The deployment's own hold before the shipped ones, and the
    /// more exact name before the less.
    pub fn rates(&self, provider: &str, model: &str, input: u64) -> Option<Rates> {
        let own = self
            .own
            .iter()
            .filter_map(|(name, rates)| {
                let (of, pattern) = name.split_once('/')?;
                (of == provider).then(|| matched(pattern, model)).flatten().map(|length| (length, *rates))
            })
            .max_by_key(|(length, _)| *length);
        if let Some((_, rates)) = own {
            return Some(rates);
        }
        let shipped = ROWS
            .iter()
            .filter(|row| row.provider == provider && (row.above == 0 || input > row.above))
            .filter(|row| row.model == model || row.model == undated(model))
            .max_by_key(|row| row.above);
        match shipped {
            Some(row) => Some(row.rates),
            // OpenRouter passes on what the maker takes (https://openrouter.ai/docs/faq), under the maker's names but for
            // Anthropic's, whose versions have points there.
            None if provider == OPENROUTER => {
                let (maker, name) = model.split_once('/').filter(|(maker, _)| *maker != OPENROUTER)?;
                let name = if maker == "anthropic" { name.replace('.', "-") } else { name.to_owned() };
                self.rates(maker, &name, input)
            }
            None => None,
        }
    }

    /// What an answer cost, in nano-dollars; `None` where the price is unknown. Nothing used costs nothing.
    pub fn cost(&self, provider: &str, model: &str, usage: &Usage) -> Option<u64> {
        if *usage == Usage::default() {
            return Some(0);
        }
        let rates = self.rates(provider, model, usage.input)?;
        let cached = usage.cached.min(usage.input);
        let cache_write = usage.cache_write.min(usage.input - cached);
        let for_an_hour = usage.cache_write_1h.min(cache_write);
        let reasoning = usage.reasoning.min(usage.output);
        let micro_per_million: u128 = [
            (usage.input - cached - cache_write, rates.input),
            (cached, rates.cached),
            (cache_write - for_an_hour, rates.cache_write),
            (for_an_hour, rates.cache_write_1h),
            (usage.output - reasoning, rates.output),
            (reasoning, rates.reasoning),
        ]
        .into_iter()
        .map(|(tokens, rate)| u128::from(tokens) * u128::from(rate))
        .sum();
        // Micro-dollars a million tokens are pico-dollars a token.
        u64::try_from((micro_per_million + 500) / 1000).ok()
    }
}

/// A model's name without the path that Google puts before it and the date of a snapshot behind it (`-2026-03-05`,
/// `-20260305`, `-latest`).
fn undated(model: &str) -> &str {
    let model = model.strip_prefix("models/").unwrap_or(model);
    if let Some(name) = model.strip_suffix("-latest") {
        return name;
    }
    ["-0000-00-00", "-00000000"]
        .into_iter()
        .find_map(|shape| {
            let (name, date) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
            let fits =
                |(byte, like): (u8, u8)| if like == b'0' { byte.is_ascii_digit() } else { byte == like };
            date.bytes().zip(shape.bytes()).all(fits).then_some(name)
        })
        .unwrap_or(model)
}

/// How many characters of a pattern a name matches; `None` where it does not.
fn matched(pattern: &str, name: &str) -> Option<usize> {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix).then_some(prefix.len()),
        None => (pattern == name).then_some(pattern.len() + 1),
    }
}

/// A decimal number in units of `1 / scale`, exactly; `None` for a negative one, an exponent, and more digits than the scale has.
pub fn decimal(text: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut amount = whole.parse::<u128>().ok()?.checked_mul(scale)?;
    let mut unit = scale;
    for digit in fraction.trim_end_matches('0').bytes() {
        if !unit.is_multiple_of(10) {
            return None;
        }
        unit /= 10;
        amount = amount.checked_add(u128::from(digit - b'0') * unit)?;
    }
    Some(amount)
}

/// Nano-dollars as a decimal number of dollars, as short as it can be.
pub fn dollars(nano: u64) -> Number {
    let text = format!("{}.{:09}", nano / NANO, nano % NANO);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    serde_json::from_str(text).unwrap_or_else(|_| Number::from(nano / NANO))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(input: u64, output: u64, cached: u64, cache_write: u64, reasoning: u64) -> Usage {
        Usage { input, output, cached, cache_write, cache_write_1h: 0, reasoning }
    }

    #[test]
    fn cost_is_exact_in_nano_dollars_and_rounded_once() {
        let prices = Prices::default();
        // 1000 of input of which 400 cached, 100 of output: 600 × 0.75 + 400 × 0.075 + 100 × 4.5 dollars a million.
        assert_eq!(prices.cost("openai", "gpt-5.4-mini", &used(1000, 100, 400, 0, 30)), Some(930_000));
        // 3 cached tokens at 75 nano-dollars, 1 at 2.5 dollars a million with a half: 0.075 × 3 = 0.225 micro-dollars.
        assert_eq!(prices.cost("openai", "gpt-5.4-mini", &used(3, 0, 3, 0, 0)), Some(225));
        assert_eq!(prices.cost("anthropic", "claude-sonnet-4-5", &used(110, 7, 60, 40, 0)), Some(303_000));
        // Half a nano-dollar is rounded up, once for the whole: 0.005 dollars a million are 5 nano-dollars a token.
        assert_eq!(prices.cost("google", "gemini-2.5-flash-lite", &used(1, 0, 1, 0, 0)), Some(10));
        assert_eq!(prices.cost("anthropic", "claude-haiku-5-5", &used(1, 1, 0, 0, 0)), Some(600));
        assert_eq!(prices.cost("openai", "gpt-4.1", &used(u64::MAX, u64::MAX, 0, 0, 0)), None);
    }

    #[test]
    fn what_is_cached_for_an_hour_costs_more() {
        let usage =
            Usage { input: 1_100, cached: 100, cache_write: 600, cache_write_1h: 200, ..Usage::default() };
        let cost = |prices: &Prices, model: &str| prices.cost("anthropic", model, &usage);
        // 400 at 3 dollars a million, 100 at 0.3, 400 at 3.75, 200 at 6.
        let shipped = Prices::default();
        assert_eq!(cost(&shipped, "claude-sonnet-4-6"), Some(3_930_000));
        let text = r#"{"anthropic/a":{"input":3,"output":1,"cached":0.3,"cache_write":4},
                       "anthropic/b":{"input":3,"output":1,"cached":0.3,"cache_write":4,"cache_write_1h":9}}"#;
        let own = Prices::read(text).unwrap();
        assert_eq!((cost(&own, "a"), cost(&own, "b")), (Some(3_630_000), Some(4_630_000)));
    }

    #[test]
    fn a_model_without_a_price_costs_null_and_not_zero_unless_nothing_was_used() {
        let prices = Prices::default();
        for (provider, model) in [
            ("openai", "gpt-5.9"),
            ("openai", "gpt-5.4-mini-tuned"),
            ("ollama", "llama"),
            ("", ""),
            ("openrouter", "auto"),
        ] {
            assert_eq!(prices.cost(provider, model, &used(1, 1, 0, 0, 0)), None, "{provider}/{model}");
            assert_eq!(prices.cost(provider, model, &Usage::default()), Some(0));
        }
    }

    #[test]
    fn snapshots_and_routes_through_openrouter_have_the_price_of_the_model() {
        let prices = Prices::default();
        let one = |provider: &str, model: &str| prices.cost(provider, model, &used(1_000_000, 0, 0, 0, 0));
        for (provider, model) in [
            ("openai", "gpt-5-2025-08-07"),
            ("openai", "gpt-5.1-latest"),
            ("google", "models/gemini-2.5-pro"),
            ("openrouter", "openai/gpt-5"),
        ] {
            // Gemini's long prompts cost twice as much.
            let dollars = if model.contains("gemini") { 2_500_000_000 } else { 1_250_000_000 };
            assert_eq!(one(provider, model), Some(dollars), "{provider}/{model}");
        }
        assert_eq!(one("anthropic", "claude-haiku-4-5-20251001"), Some(1_000_000_000));
        assert_eq!(one("openrouter", "anthropic/claude-haiku-4.5"), Some(1_000_000_000));
        assert_eq!(one("openrouter", "openrouter/openrouter/x"), None);
    }

    #[test]
    fn long_prompts_have_their_own_price() {
        let prices = Prices::default();
        let input = |tokens| prices.rates("anthropic", "claude-haiku-5-5", tokens).map(|rates| rates.input);
        assert_eq!((input(100_000), input(100_001)), (Some(100_000), Some(500_000)));
    }

    #[test]
    fn the_deployments_own_prices_hold_and_the_more_exact_name_first() {
        let prices = Prices::read(
            r#"{"openai/gpt-*":{"input":1,"output":2},
                "openai/gpt-5.4*":{"input":3.5,"output":4,"cached":0.035,"cache_write":5,"reasoning":6},
                "mine/m":{"input":0,"output":0},"mine/tiny":{"input":0.0005,"output":0}}"#,
        )
        .unwrap();
        let rates = |name: &str| prices.rates("openai", name, 0);
        assert_eq!(
            rates("gpt-5.4-mini"),
            Some(Rates {
                input: 3_500_000,
                output: 4_000_000,
                cached: 35_000,
                cache_write: 5_000_000,
                cache_write_1h: 5_000_000,
                reasoning: 6_000_000
            })
        );
        assert_eq!(
            rates("gpt-4o"),
            Some(Rates {
                input: 1_000_000,
                output: 2_000_000,
                cached: 1_000_000,
                cache_write: 1_000_000,
                cache_write_1h: 1_000_000,
                reasoning: 2_000_000
            })
        );
        assert_eq!(prices.cost("mine", "m", &used(5, 5, 0, 0, 0)), Some(0));
        // Half a nano-dollar a token: rounded once for all tokens, and a half is rounded up.
        assert_eq!(
            [1, 2, 3].map(|tokens| prices.cost("mine", "tiny", &used(tokens, 0, 0, 0, 0))),
            [Some(1), Some(1), Some(2)]
        );
        assert_eq!(rates("o3").map(|rates| rates.input), Some(2_000_000));
        for (bad, why) in [
            ("[", "is not a JSON object"),
            (r#"{"gpt":{"input":1,"output":1}}"#, "not of the form"),
            (r#"{"a/b":{"input":1}}"#, "missing field `output`"),
            (r#"{"a/b":{"input":1,"output":1,"out":1}}"#, "unknown field `out`"),
            (r#"{"a/b":{"input":-1,"output":1}}"#, "no amount of dollars"),
            (r#"{"a/b":{"input":1e-3,"output":1}}"#, "no amount of dollars"),
            (r#"{"a/b":{"input":0.0000001,"output":1}}"#, "no amount of dollars"),
        ] {
            let error = Prices::read(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn every_shipped_row_names_its_source_and_day_and_stands_once() {
        for row in ROWS {
            assert!(row.source.starts_with("https://") && row.read_on.len() == 10, "{row:?}");
            assert_eq!(undated(row.model), row.model);
            let twins = ROWS.iter().filter(|other| {
                (other.provider, other.model, other.above) == (row.provider, row.model, row.above)
            });
            assert_eq!(twins.count(), 1, "{row:?}");
        }
    }

    #[test]
    fn nano_dollars_are_written_as_decimal_dollars() {
        for (nano, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (930_000, "0.00093"),
            (NANO, "1"),
            (12 * NANO + 500_000_000, "12.5"),
        ] {
            assert_eq!(dollars(nano).to_string(), text);
            assert_eq!(decimal(text, u128::from(NANO)), Some(u128::from(nano)));
        }
    }
}
