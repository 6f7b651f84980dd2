//! Keys and tokens that tell by their form who issued them.
//!
//! Invariant: a form is as narrow as its issuer keeps it, and what stands behind its prefix must look drawn by lot; so names
//! that merely begin like a key (`sk-fading-circle`) and placeholders (`sk-your-key`) are none.

use super::{Found, Hint, changes, is_word, run, tail};

/// The form of a key: how it begins, how many bytes follow at least, and what they are.
struct Form {
    prefix: &'static str,
    kind: &'static str,
    least: usize,
    body: Body,
}

/// What follows a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// Letters, digits, `_` and `-`.
    Word,
    /// Exactly as many of them as the least.
    Exactly,
    /// Exactly as many capital letters and digits as the least.
    Capitals,
    /// Exactly as many hexadecimal digits as the least.
    Hex,
    /// Words parted by dots.
    Dotted,
}

const fn form(prefix: &'static str, kind: &'static str, least: usize, body: Body) -> Form {
    Form { prefix, kind, least, body }
}

/// The forms, the longer of two prefixes that begin alike first.
const FORMS: &[Form] = &[
    form("msk_", "gateway key", 16, Body::Word),
    form("sk-ant-", "Anthropic key", 20, Body::Word),
    form("sk-or-v1-", "OpenRouter key", 32, Body::Word),
    form("sk-proj-", "OpenAI key", 20, Body::Word),
    form("sk-svcacct-", "OpenAI key", 20, Body::Word),
    form("sk-admin-", "OpenAI key", 20, Body::Word),
    // OpenAI's first form, which DeepSeek, Moonshot and others took over.
    form("sk-", "API key", 20, Body::Word),
    form("AIza", "Google key", 35, Body::Exactly),
    form("AQ.", "Google key", 30, Body::Dotted),
    form("ya29.", "Google token", 20, Body::Dotted),
    form("GOCSPX-", "Google client secret", 20, Body::Word),
    form("AKIA", "AWS key id", 16, Body::Capitals),
    form("ASIA", "AWS key id", 16, Body::Capitals),
    form("ghp_", "GitHub token", 36, Body::Word),
    form("gho_", "GitHub token", 36, Body::Word),
    form("ghu_", "GitHub token", 36, Body::Word),
    form("ghs_", "GitHub token", 36, Body::Word),
    form("ghr_", "GitHub token", 36, Body::Word),
    form("github_pat_", "GitHub token", 40, Body::Word),
    form("glpat-", "GitLab token", 20, Body::Dotted),
    form("xoxb-", "Slack token", 20, Body::Word),
    form("xoxp-", "Slack token", 20, Body::Word),
    form("xoxa-", "Slack token", 20, Body::Word),
    form("xoxr-", "Slack token", 20, Body::Word),
    form("xoxs-", "Slack token", 20, Body::Word),
    form("xoxc-", "Slack token", 20, Body::Word),
    form("xoxd-", "Slack token", 20, Body::Word),
    form("xoxe.", "Slack token", 20, Body::Dotted),
    form("xoxe-", "Slack token", 20, Body::Word),
    form("xapp-", "Slack token", 20, Body::Word),
    form("sk_live_", "Stripe key", 16, Body::Word),
    form("sk_test_", "Stripe key", 16, Body::Word),
    form("sk_", "ElevenLabs key", 40, Body::Word),
    form("rk_live_", "Stripe key", 16, Body::Word),
    form("rk_test_", "Stripe key", 16, Body::Word),
    form("whsec_", "webhook secret", 20, Body::Word),
    form("xai-", "xAI key", 40, Body::Word),
    form("gsk_", "Groq key", 40, Body::Word),
    form("csk-", "Cerebras key", 40, Body::Word),
    form("fw_", "Fireworks key", 20, Body::Word),
    form("tgp_v1_", "Together key", 30, Body::Word),
    form("nvapi-", "NVIDIA key", 40, Body::Word),
    form("pplx-", "Perplexity key", 40, Body::Word),
    form("hf_", "Hugging Face token", 30, Body::Word),
    form("r8_", "Replicate token", 30, Body::Word),
    form("tvly-", "Tavily key", 20, Body::Word),
    form("npm_", "npm token", 36, Body::Exactly),
    form("pypi-AgE", "PyPI token", 40, Body::Word),
    form("SG.", "SendGrid key", 60, Body::Dotted),
    form("SK", "Twilio key", 32, Body::Hex),
    form("dapi", "Databricks token", 32, Body::Hex),
    form("dop_v1_", "DigitalOcean token", 64, Body::Hex),
    form("shpat_", "Shopify token", 32, Body::Hex),
    form("shpss_", "Shopify token", 32, Body::Hex),
    form("sbp_", "Supabase token", 40, Body::Hex),
    form("sb_secret_", "Supabase key", 20, Body::Word),
    form("lin_api_", "Linear key", 32, Body::Word),
    form("ntn_", "Notion token", 40, Body::Word),
];

/// The shortest word that can hold one.
const SHORTEST: usize = 20;

/// The most words in one, parted by dots, behind its prefix: the last three of an encrypted JWT.
const DOTTED_WORDS: usize = 3;

/// How often letters and digits alternate in what was drawn by lot, at the least; words with a number alternate once.
const CHANGES: usize = 2;

/// The key or token that begins here, with this word.
pub fn find(text: &str, at: usize, word: &str) -> Option<Found> {
    let dotted = tail(text, at + word.len()).starts_with('.');
    if word.len() < SHORTEST && !dotted {
        return telegram_token(text, at, word);
    }
    let found = |len: usize, kind| Found { place: at..at + len, kind, hint: Hint::IfLong };
    if let Some(len) = json_web_token(tail(text, at)) {
        return Some(found(len, "JWT"));
    }
    if let Some(len) = slack_webhook(text, at, word) {
        return Some(found(len, "Slack webhook"));
    }
    FORMS.iter().filter(|form| word.starts_with(form.prefix.trim_end_matches('.'))).find_map(|form| {
        let body = tail(text, at).strip_prefix(form.prefix)?;
        let body = match form.body {
            Body::Dotted => dotted_words(body),
            _ => run(body, is_word),
        };
        form.fits(body).then(|| found(form.prefix.len() + body.len(), form.kind))
    })
}

impl Form {
    fn fits(&self, body: &str) -> bool {
        match self.body {
            Body::Word | Body::Dotted => body.len() >= self.least && changes(body) >= CHANGES,
            Body::Exactly => body.len() == self.least,
            Body::Capitals => {
                body.len() == self.least
                    && body.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            }
            Body::Hex => body.len() == self.least && body.bytes().all(|byte| byte.is_ascii_hexdigit()),
        }
    }
}

/// Words parted by single dots; so few of them that no word is read again and again.
fn dotted_words(text: &str) -> &str {
    let mut len = run(text, is_word).len();
    for _ in 1..DOTTED_WORDS {
        let next = tail(text, len).strip_prefix('.').map_or(0, |next| run(next, is_word).len());
        if next > 0 {
            len += 1 + next;
        }
    }
    text.get(..len).unwrap_or_default()
}

/// The length of a JSON Web Token (RFC 7519): an encoded object, content, and a signature, or five parts if encrypted.
fn json_web_token(text: &str) -> Option<usize> {
    // `{"` in Base64.
    text.starts_with("eyJ").then_some(())?;
    let header = run(text, is_word);
    let rest = tail(text, header.len()).strip_prefix('.')?;
    let content = run(rest, is_word);
    let rest = tail(rest, content.len()).strip_prefix('.')?;
    let more = dotted_words(rest);
    let signature = run(more, is_word);
    let is_signed = content.starts_with("eyJ");
    let is_encrypted = more.bytes().filter(|byte| *byte == b'.').count() == 2;
    let last = if is_signed { signature } else { more };
    (header.len() >= 10 && signature.len() >= 10 && (is_signed || is_encrypted))
        .then_some(header.len() + 1 + content.len() + 1 + last.len())
}

/// The path of a Slack webhook behind its host: `T…/B…/` and the secret part.
fn slack_webhook(text: &str, at: usize, word: &str) -> Option<usize> {
    (word.len() >= SHORTEST).then_some(())?;
    let path = text.get(..at)?.strip_suffix('/')?;
    let (path, bot) = path.rsplit_once('/')?;
    let (path, team) = path.rsplit_once('/')?;
    let is_hook = bot.starts_with('B') && team.starts_with('T') && path.ends_with("hooks.slack.com/services");
    is_hook.then_some(word.len())
}

/// A bot token of Telegram: a number, a colon, and 35 characters that begin with `AA`.
fn telegram_token(text: &str, at: usize, word: &str) -> Option<Found> {
    let is_id = (8..=10).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit());
    let secret = run(is_id.then(|| tail(text, at + word.len()).strip_prefix(':'))??, is_word);
    (secret.len() == 35 && secret.starts_with("AA")).then(|| Found {
        place: at..at + word.len() + 1 + secret.len(),
        kind: "Telegram token",
        hint: Hint::IfLong,
    })
}
