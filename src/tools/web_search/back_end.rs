//! The services that can search the web for the gateway: how each is asked, and how its answer is read.
//!
//! Invariant: a service is a row. A request goes to the configured host alone, and the key is in a header, never in an
//! address.

use std::fmt::Write;

use chrono::{DateTime, NaiveDate};
use serde_json::{Map, Value, json};

use super::{Asked, MAX_RESULTS, Recency};
use crate::keys::Secret;
use crate::ledger::prices::decimal;
use crate::time::iso;
use crate::tools::outcome::Citation;

const NANO: u128 = 1_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A service as the deployment has set it.
#[derive(Clone, Debug, PartialEq)]
pub struct BackEnd {
    row: &'static Row,
    base_url: String,
    key: Option<Secret>,
    /// `WEB_SEARCH_PRICE_USD`, in nano-dollars.
    price: Option<u64>,
}

/// A request to a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The method.
    pub method: &'static str,
    /// The address.
    pub url: String,
    /// The header that carries the key.
    pub credential: Option<(&'static str, Secret)>,
    /// The JSON body.
    pub body: Option<String>,
}

/// What a service answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The results in their order, as they came.
    pub results: Vec<Citation>,
    /// What the question cost in nano-dollars; `None` where nobody knows.
    pub cost_nano_usd: Option<u64>,
}

/// What is particular to a service.
#[derive(Debug, PartialEq)]
struct Row {
    name: &'static str,
    base_url: &'static str,
    base_url_var: &'static str,
    key_var: Option<&'static str>,
    /// The header of the key, and what stands before it there.
    key_header: (&'static str, &'static str),
    shape: Shape,
}

/// How a service is asked and answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// <https://docs.tavily.com/documentation/api-reference/endpoint/search>
    Tavily,
    /// <https://api-dashboard.search.brave.com/app/documentation/web-search/get-started>
    Brave,
    /// <https://docs.exa.ai/reference/search>
    Exa,
    /// <https://docs.searxng.org/dev/search_api.html>; the instance must have `json` among its formats.
    Searxng,
}

const ROWS: [Row; 4] = [
    Row {
        name: "tavily",
        base_url: "https://api.tavily.com",
        base_url_var: "TAVILY_BASE_URL",
        key_var: Some("TAVILY_API_KEY"),
        key_header: ("authorization", "Bearer "),
        shape: Shape::Tavily,
    },
    Row {
        name: "brave",
        base_url: "https://api.search.brave.com",
        base_url_var: "BRAVE_BASE_URL",
        key_var: Some("BRAVE_API_KEY"),
        key_header: ("x-subscription-token", ""),
        shape: Shape::Brave,
    },
    Row {
        name: "exa",
        base_url: "https://api.exa.ai",
        base_url_var: "EXA_BASE_URL",
        key_var: Some("EXA_API_KEY"),
        key_header: ("x-api-key", ""),
        shape: Shape::Exa,
    },
    Row {
        name: "searxng",
        base_url: "",
        base_url_var: "SEARXNG_BASE_URL",
        key_var: None,
        key_header: ("", ""),
        shape: Shape::Searxng,
    },
];

impl BackEnd {
    /// Reads `WEB_SEARCH` and what it needs; `None` where it is not set, or `off`. `set` gives a variable or secret by name.
    /// Errors: the variable at fault, and what is wrong with it.
    pub fn read(set: &impl Fn(&str) -> Option<String>) -> Result<Option<Self>, (&'static str, String)> {
        let Some(name) = set("WEB_SEARCH").filter(|name| name != "off") else { return Ok(None) };
        let Some(row) = ROWS.iter().find(|row| row.name == name) else {
            let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
            return Err(("WEB_SEARCH", format!("must be one of {} or off, not `{name}`", names.join(", "))));
        };
        let base_url = set(row.base_url_var).unwrap_or_else(|| row.base_url.to_owned());
        let base_url = base_url.trim_end_matches('/');
        if !base_url.starts_with("https://") && !base_url.starts_with("http://") {
            return Err((
                row.base_url_var,
                format!("must hold a URL that starts with https:// or http://, because WEB_SEARCH is {name}"),
            ));
        }
        let key = row.key_var.and_then(set).map(Secret::new);
        if let (Some(var), None) = (row.key_var, &key) {
            return Err((var, format!("must be set, because WEB_SEARCH is {name}")));
        }
        let price = set("WEB_SEARCH_PRICE_USD")
            .map(|text| {
                decimal(&text, NANO).and_then(|nano| u64::try_from(nano).ok()).ok_or_else(|| {
                    ("WEB_SEARCH_PRICE_USD", format!("must be an amount like 0.008, not `{text}`"))
                })
            })
            .transpose()?;
        Ok(Some(BackEnd { row, base_url: base_url.to_owned(), key, price }))
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.row.name
    }

    /// What a question costs in nano-dollars, as far as the deployment says; `None` where it does not.
    pub fn price(&self) -> Option<u64> {
        self.price
    }

    /// The request for a question. `now` in Unix milliseconds.
    pub fn ask(&self, asked: &Asked, now: u64) -> Ask {
        let (path, query, body) = match self.row.shape {
            Shape::Tavily => ("/search", None, Some(tavily(asked))),
            Shape::Brave => ("/res/v1/web/search", Some(brave(asked)), None),
            Shape::Exa => ("/search", None, Some(exa(asked, now))),
            Shape::Searxng => ("/search", Some(searxng(asked)), None),
        };
        let (header, scheme) = self.row.key_header;
        Ask {
            method: if body.is_some() { "POST" } else { "GET" },
            url: format!("{}{path}{}", self.base_url, query.unwrap_or_default()),
            credential: self
                .key
                .as_ref()
                .map(|key| (header, Secret::new(format!("{scheme}{}", key.reveal())))),
            body: body.map(|body| body.to_string()),
        }
    }

    /// Reads an answer with a good status; `None` for one that is none. A result without an address is left out.
    pub fn read_answer(&self, body: &[u8]) -> Option<Found> {
        let answer: Value = serde_json::from_slice(body).ok()?;
        let answer = answer.as_object()?;
        let (list, fields): (_, [&[&str]; 2]) = match self.row.shape {
            Shape::Tavily => (answer.get("results"), [&["content"], &["published_date"]]),
            // Brave leaves `web` out where it found nothing.
            Shape::Brave => match answer.get("web") {
                None => (Some(&Value::Null), [&[], &[]]),
                Some(web) => (web.get("results"), [&["description"], &["page_age"]]),
            },
            Shape::Exa => (answer.get("results"), [&["text", "summary"], &["publishedDate"]]),
            Shape::Searxng => (answer.get("results"), [&["content"], &["publishedDate"]]),
        };
        let list = match list? {
            Value::Array(list) => list.as_slice(),
            Value::Null => &[],
            _ => return None,
        };
        let [excerpts, dates] = fields;
        let results = list.iter().filter_map(|result| self.read_result(result.as_object()?, excerpts, dates));
        Some(Found { results: results.collect(), cost_nano_usd: told_cost(answer).or(self.price) })
    }

    fn read_result(
        &self,
        result: &Map<String, Value>,
        excerpts: &[&str],
        dates: &[&str],
    ) -> Option<Citation> {
        let text = |names: &[&str]| {
            names
                .iter()
                .filter_map(|name| result.get(*name).and_then(Value::as_str))
                .find(|text| !text.is_empty())
        };
        let plain = |text: &str| match self.row.shape {
            Shape::Brave => without_entities(text),
            Shape::Tavily | Shape::Exa | Shape::Searxng => text.to_owned(),
        };
        Some(Citation {
            title: plain(text(&["title"]).unwrap_or_default()),
            url: text(&["url"])?.to_owned(),
            snippet: plain(text(excerpts).unwrap_or_default()),
            date: text(dates).and_then(day),
        })
    }
}

fn tavily(asked: &Asked) -> Value {
    let mut body = json!({
        "query": asked.query,
        "max_results": MAX_RESULTS,
        "search_depth": "basic",
    });
    if let (Some(recency), Some(fields)) = (asked.recency, body.as_object_mut()) {
        fields.insert("time_range".to_owned(), recency.as_str().into());
    }
    body
}

fn brave(asked: &Asked) -> String {
    let freshness = asked.recency.map_or("", |recency| match recency {
        Recency::Day => "&freshness=pd",
        Recency::Week => "&freshness=pw",
        Recency::Month => "&freshness=pm",
        Recency::Year => "&freshness=py",
    });
    format!("?q={}&count={MAX_RESULTS}&text_decorations=false{freshness}", percent_encoded(&asked.query))
}

fn exa(asked: &Asked, now: u64) -> Value {
    let mut body = json!({
        "query": asked.query,
        "numResults": MAX_RESULTS,
        "contents": {"text": {"maxCharacters": super::SNIPPET_CHARS}},
    });
    if let (Some(recency), Some(fields)) = (asked.recency, body.as_object_mut()) {
        let since = iso(now.saturating_sub(recency.days() * DAY_MS));
        fields.insert("startPublishedDate".to_owned(), since.into());
    }
    body
}

fn searxng(asked: &Asked) -> String {
    let range = match asked.recency {
        // Not every version knows of weeks.
        Some(Recency::Week) => "&time_range=month",
        Some(Recency::Day) => "&time_range=day",
        Some(Recency::Month) => "&time_range=month",
        Some(Recency::Year) => "&time_range=year",
        None => "",
    };
    format!("?q={}&format=json{range}", percent_encoded(&asked.query))
}

/// What Exa says that the question cost: `costDollars.total`.
fn told_cost(answer: &Map<String, Value>) -> Option<u64> {
    let total = answer.get("costDollars")?.get("total")?.as_number()?.to_string();
    decimal(&total, NANO).and_then(|nano| u64::try_from(nano).ok())
}

/// The day in a date of any form that services use.
fn day(text: &str) -> Option<String> {
    let text = text.trim();
    text.get(..10)
        .and_then(|day| NaiveDate::parse_from_str(day, "%Y-%m-%d").ok())
        .or_else(|| DateTime::parse_from_rfc2822(text).ok().map(|date| date.date_naive()))
        .map(|day| day.to_string())
}

/// A text as part of a query, every byte that may mean something escaped.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// The entities that HTML cannot do without, as what they stand for.
fn without_entities(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&#39;", "'"), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Option<BackEnd>, (&'static str, String)> {
        BackEnd::read(&|name: &str| {
            vars.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn back_end(name: &str) -> BackEnd {
        let keys = [("TAVILY_API_KEY", "tvly-1"), ("BRAVE_API_KEY", "BSA1"), ("EXA_API_KEY", "exa-1")];
        let vars = [
            &[
                ("WEB_SEARCH", name),
                ("SEARXNG_BASE_URL", "http://searx.test/"),
                ("WEB_SEARCH_PRICE_USD", "0.008"),
            ],
            &keys[..],
        ];
        read(&vars.concat()).unwrap().unwrap()
    }

    fn asked(recency: Option<Recency>) -> Asked {
        Asked { query: "größe & q=1 #2".into(), recency }
    }

    #[test]
    fn each_service_is_asked_in_its_own_form() {
        let now = 1_795_694_400_000; // 2026-11-26 12:00 UTC
        let ask = |name: &str, recency| {
            let Ask { method, url, credential, body } = back_end(name).ask(&asked(recency), now);
            let body = body.map(|body| serde_json::from_str::<Value>(&body).unwrap());
            (method, url, credential.map(|(name, key)| format!("{name}: {}", key.reveal())), body)
        };
        assert_eq!(
            ask("tavily", Some(Recency::Week)),
            (
                "POST",
                "https://api.tavily.com/search".into(),
                Some("authorization: Bearer tvly-1".into()),
                Some(json!({
                    "query": "größe & q=1 #2", "max_results": 8, "search_depth": "basic", "time_range": "week",
                }))
            )
        );
        assert_eq!(
            ask("brave", Some(Recency::Day)),
            (
                "GET",
                "https://api.search.brave.com/res/v1/web/search?q=gr%C3%B6%C3%9Fe%20%26%20q%3D1%20%232&count=8\
                 &text_decorations=false&freshness=pd"
                    .into(),
                Some("x-subscription-token: BSA1".into()),
                None
            )
        );
        assert_eq!(
            ask("exa", Some(Recency::Month)),
            (
                "POST",
                "https://api.exa.ai/search".into(),
                Some("x-api-key: exa-1".into()),
                Some(json!({
                    "query": "größe & q=1 #2", "numResults": 8, "contents": {"text": {"maxCharacters": 1000}},
                    "startPublishedDate": "2026-10-26T12:00:00.000Z",
                }))
            )
        );
        assert_eq!(
            ask("searxng", None),
            (
                "GET",
                "http://searx.test/search?q=gr%C3%B6%C3%9Fe%20%26%20q%3D1%20%232&format=json".into(),
                None,
                None
            )
        );
    }

    #[test]
    fn each_service_is_read_in_its_own_form() {
        let one = |title: &str, date: Option<&str>| Citation {
            title: title.into(),
            url: "https://a.test/1".into(),
            snippet: "What it's about.".into(),
            date: date.map(str::to_owned),
        };
        for (name, body, results, cost) in [
            (
                "tavily",
                json!({
                    "query": "q", "answer": null, "images": [], "response_time": 1.2, "request_id": "r",
                    "results": [
                        {"title": "A", "url": "https://a.test/1", "content": "What it's about.", "score": 0.9,
                         "raw_content": null, "published_date": "Tue, 24 Nov 2026 10:00:00 GMT"},
                        {"title": "no address"}, 7,
                    ],
                }),
                vec![one("A", Some("2026-11-24"))],
                8_000_000,
            ),
            (
                "brave",
                json!({
                    "type": "search", "query": {"original": "q"},
                    "web": {"type": "search", "results": [{
                        "title": "A &amp; B", "url": "https://a.test/1", "description": "What it&#x27;s about.",
                        "age": "2 days ago", "page_age": "2026-11-24T08:30:00", "language": "en",
                    }]},
                }),
                vec![one("A & B", Some("2026-11-24"))],
                8_000_000,
            ),
            ("brave", json!({"type": "search", "query": {"original": "q"}}), vec![], 8_000_000),
            (
                "exa",
                json!({
                    "requestId": "r", "resolvedSearchType": "neural",
                    "results": [{
                        "id": "https://a.test/1", "url": "https://a.test/1", "title": "A", "author": null,
                        "publishedDate": "2026-11-24T00:00:00.000Z", "text": "What it's about.",
                    }],
                    "costDollars": {"total": 0.005},
                }),
                vec![one("A", Some("2026-11-24"))],
                5_000_000,
            ),
            (
                "searxng",
                json!({
                    "query": "q", "number_of_results": 0, "answers": [], "unresponsive_engines": [],
                    "results": [{
                        "url": "https://a.test/1", "title": "A", "content": "What it's about.",
                        "engine": "bing", "publishedDate": "yesterday",
                    }],
                }),
                vec![one("A", None)],
                8_000_000,
            ),
        ] {
            let found = back_end(name).read_answer(body.to_string().as_bytes());
            assert_eq!(found, Some(Found { results, cost_nano_usd: Some(cost) }), "{name}");
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for name in ["tavily", "brave", "exa", "searxng"] {
            for body in ["", "{", "[]", "<html>", r#"{"results":3,"web":{"results":{}}}"#] {
                assert_eq!(back_end(name).read_answer(body.as_bytes()), None, "{name}: {body}");
            }
        }
        assert_eq!(back_end("tavily").read_answer(br#"{"detail":{"error":"x"}}"#), None);
    }

    #[test]
    fn without_a_price_the_cost_is_unknown() {
        let free = read(&[("WEB_SEARCH", "tavily"), ("TAVILY_API_KEY", "k")]).unwrap().unwrap();
        assert_eq!(free.read_answer(br#"{"results":[]}"#).unwrap().cost_nano_usd, None);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_by_its_variable() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("WEB_SEARCH", "off"), ("TAVILY_API_KEY", "k")]), Ok(None));
        for (vars, variable) in [
            (&[("WEB_SEARCH", "google")][..], "WEB_SEARCH"),
            (&[("WEB_SEARCH", "tavily")], "TAVILY_API_KEY"),
            (&[("WEB_SEARCH", "brave")], "BRAVE_API_KEY"),
            (&[("WEB_SEARCH", "exa"), ("EXA_API_KEY", "k"), ("EXA_BASE_URL", "exa.ai")], "EXA_BASE_URL"),
            (&[("WEB_SEARCH", "searxng")], "SEARXNG_BASE_URL"),
            (
                &[("WEB_SEARCH", "exa"), ("EXA_API_KEY", "k"), ("WEB_SEARCH_PRICE_USD", "-1")],
                "WEB_SEARCH_PRICE_USD",
            ),
        ] {
            assert_eq!(read(vars).unwrap_err().0, variable, "{vars:?}");
        }
    }

    #[test]
    fn the_key_does_not_print() {
        let back_end = back_end("tavily");
        let printed = format!("{back_end:?} {:?}", back_end.ask(&asked(None), 0));
        assert!(!printed.contains("tvly-1"), "{printed}");
    }
}
