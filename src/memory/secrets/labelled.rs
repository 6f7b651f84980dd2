//! Secrets that only the words before them give away: `password: …`, `api_key = …`, `Bearer …`, "my password is …".
//!
//! Invariant: what only speaks of a secret stays readable: types, variables, calls, placeholders, rules for passwords, and
//! sentences such as "the password is wrong".

use super::{Found, Hint, OPENING, changes, is_word, issued, run, tail};

/// The shortest and the longest password that is looked for, in bytes; the upper bound also bounds the work.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 4..=128;

/// What a label announces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Label {
    /// Anything that somebody chose.
    Password,
    /// Something drawn by lot, of the kind that the words say.
    Secret(&'static str),
    /// Maybe: many other things are called a token.
    Token,
    /// Maybe: most things are called a key.
    Key,
    /// The digits on the back of a card.
    CardCode,
    /// A header with a scheme before the credential.
    Authorization,
}

/// Last words of labels, and the words before them of which there must be one; none at all means that any will do.
const LABELS: &[(&str, &[&str], Label)] = &[
    ("password", &[], Label::Password),
    ("passwd", &[], Label::Password),
    ("passphrase", &[], Label::Password),
    ("passcode", &[], Label::Password),
    ("passwort", &[], Label::Password),
    ("kennwort", &[], Label::Password),
    ("pwd", &[], Label::Password),
    ("pass", &["db", "smtp", "mysql", "redis", "user", "admin", "root", "mail"], Label::Password),
    ("secret", &[], Label::Secret("secret")),
    ("apikey", &[], Label::Secret("API key")),
    (
        "key",
        &[
            "api",
            "access",
            "secret",
            "private",
            "account",
            "auth",
            "encryption",
            "signing",
            "master",
            "license",
            "service",
            "storage",
        ],
        Label::Secret("key"),
    ),
    (
        "token",
        &[
            "api", "access", "auth", "refresh", "bearer", "session", "id", "bot", "security", "deploy",
            "personal",
        ],
        Label::Secret("token"),
    ),
    ("credential", &[], Label::Secret("credential")),
    ("credentials", &[], Label::Secret("credential")),
    ("token", &[], Label::Token),
    ("key", &[], Label::Key),
    ("cvv", &[], Label::CardCode),
    ("cvc", &[], Label::CardCode),
    ("cvv2", &[], Label::CardCode),
    ("authorization", &[], Label::Authorization),
];

/// Words that a label is followed by when nothing secret is: types, placeholders, what is said of passwords.
const NO_VALUES: &str = "\
    a all already also always an and any as at auto be because blank bool boolean by bytes case char chars \
    correct different easy either empty enter exactly example false fine for from good guessable here hidden \
    if in incorrect input insecure integer invalid it just kept long max maximum min minimum missing must my \
    never new nil no none not now null number object off ok old on one only optional option or out over \
    param passwd passwort password please private public pwd random really redacted required right same \
    secret secretstr secure set short shown similar so some stale still str string strong text that the \
    there this to token too true undefined unique unknown unsafe usually valid value varchar very weak what \
    with wrong yes your";

/// The secret that this word announces; `before` is the word before it, if one space parts the two.
pub fn find(text: &str, at: usize, word: &str, before: Option<&str>) -> Option<Found> {
    let behind = at + word.len();
    if matches!(word, "Bearer" | "bearer") {
        let start = behind + run(tail(text, behind), |byte| byte == b' ').len().min(2);
        return (start > behind).then(|| credential(text, start, 16, 2, "token"))?;
    }
    let (link, start) = link(text, behind)?;
    let label = label(word, before)?;
    let start = start + quote(tail(text, start)).map_or(0, str::len);
    match label {
        Label::Password => password(text, start, link),
        Label::Secret(kind) => credential(text, start, 12, 2, kind),
        Label::Token => {
            credential(text, start, 16, 3, "token").filter(|found| !is_uuid(text.get(found.place.clone())))
        }
        Label::Key => {
            credential(text, start, 20, 3, "key").filter(|found| is_key(text.get(found.place.clone())))
        }
        Label::CardCode => {
            let code = run(tail(text, start), |byte| byte.is_ascii_digit()).len();
            let goes_on = tail(text, start + code).starts_with(char::is_alphanumeric);
            (matches!(code, 3 | 4) && !goes_on).then_some(Found {
                place: start..start + code,
                kind: "card code",
                hint: Hint::Never,
            })
        }
        Label::Authorization => {
            let scheme = run(tail(text, start), is_word);
            let start = start + scheme.len() + usize::from(tail(text, start + scheme.len()).starts_with(' '));
            let is_scheme =
                ["basic", "token", "apikey"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            (is_scheme).then(|| credential(text, start, 8, 1, "credential"))?
        }
    }
}

/// How a value is tied to its label.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Link {
    /// By a sign.
    Sign,
    /// By a verb.
    Verb,
}

/// The link behind a label, and where it ends.
fn link(text: &str, behind: usize) -> Option<(Link, usize)> {
    let spaces = |at: usize| at + run(tail(text, at), |byte| matches!(byte, b' ' | b'\t')).len().min(8);
    // Marks of bold and code around the label.
    let marks = |at: usize| at + run(tail(text, at), |byte| matches!(byte, b'*' | b'`')).len().min(3);
    let verb = tail(text, behind).strip_prefix(' ').and_then(|rest| {
        ["is ", "was ", "ist ", "is: ", "to "]
            .iter()
            .find(|verb| rest.starts_with(**verb))
            .map(|verb| 1 + verb.len())
    });
    if let Some(verb) = verb {
        return Some((Link::Verb, spaces(behind + verb)));
    }
    let closed = marks(behind);
    let closed = closed + quote(tail(text, closed)).map_or(0, str::len);
    let sign = spaces(closed);
    let signs = run(tail(text, sign), |byte| matches!(byte, b':' | b'=' | b'>'));
    if !matches!(signs, ":" | "=" | "=>" | ":=" | "==" | "===") {
        return None;
    }
    // The sign of bold text may stand inside it.
    Some((Link::Sign, spaces(marks(sign + signs.len()))))
}

/// The quotation mark here, escaped or not.
fn quote(text: &str) -> Option<&str> {
    let escapes = run(text, |byte| byte == b'\\').len().min(3);
    let mark = tail(text, escapes)
        .chars()
        .next()
        .filter(|char| matches!(char, '"' | '\'' | '`' | '“' | '‘' | '„'))?;
    text.get(..escapes + mark.len_utf8())
}

fn label(word: &str, before: Option<&str>) -> Option<Label> {
    let (head, last) = last_segment(word);
    let (_, prior) = last_segment(if head.is_empty() { before.unwrap_or_default() } else { head });
    let is = |segment: &str, name: &str| segment.eq_ignore_ascii_case(name);
    LABELS
        .iter()
        .find(|(name, prior_names, _)| {
            is(last, name) && (prior_names.is_empty() || prior_names.iter().any(|name| is(prior, name)))
        })
        .map(|(_, _, label)| *label)
}

/// A name cut before its last part: at `_`, `-`, and where a capital follows a small letter.
fn last_segment(name: &str) -> (&str, &str) {
    let name = name.trim_end_matches(['_', '-']);
    let bytes = name.as_bytes();
    let is_border = |at: usize| match (at.checked_sub(1).and_then(|before| bytes.get(before)), bytes.get(at))
    {
        (Some(b'_' | b'-'), _) => true,
        (Some(before), Some(here)) => before.is_ascii_lowercase() && here.is_ascii_uppercase(),
        _ => false,
    };
    let cut = (0..bytes.len()).rev().find(|at| is_border(*at)).unwrap_or(0);
    (name.get(..cut).unwrap_or_default().trim_end_matches(['_', '-']), tail(name, cut))
}

/// A credential of at least so many bytes, with so many changes between letters and digits.
fn credential(
    text: &str,
    start: usize,
    least: usize,
    changes_least: usize,
    kind: &'static str,
) -> Option<Found> {
    let value = tail(text, start);
    let issued = issued::find(text, start, run(value, is_word));
    if issued.is_some() {
        return issued;
    }
    let body = run(value, |byte| is_word(byte) || matches!(byte, b'.' | b'/' | b'+' | b'~' | b'%'));
    let padding = run(tail(value, body.len()), |byte| byte == b'=').len();
    let body = if padding == 0 { body.trim_end_matches(['.', '-']) } else { body };
    let end = start + body.len() + padding;
    let is_call = tail(text, end).starts_with(['(', '[', '{']);
    let is_digest = ["sha1", "sha256", "sha384", "sha512", "md5"].iter().any(|name| body.starts_with(name));
    (body.len() >= least
        && changes(body) >= changes_least
        && !is_call
        && !is_digest
        && !body.starts_with('/'))
    .then_some(Found { place: start..end, kind, hint: Hint::IfLong })
}

fn is_uuid(value: Option<&str>) -> bool {
    let mut groups = value.unwrap_or_default().split('-');
    [8, 4, 4, 4, 12].into_iter().all(|len| {
        groups
            .next()
            .is_some_and(|group| group.len() == len && group.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }) && groups.next().is_none()
}

/// True for what is a key to a lock and not to a table, a cache or a file: capitals, small letters and digits, in one piece.
fn is_key(value: Option<&str>) -> bool {
    let value = value.unwrap_or_default();
    let has = |is_in: fn(&u8) -> bool| value.as_bytes().iter().any(is_in);
    has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && !value.contains(['.', '%'])
        && !value.contains("--")
}

/// The password that begins here.
fn password(text: &str, start: usize, link: Link) -> Option<Found> {
    let value = tail(text, start);
    if value.starts_with(OPENING) {
        return None;
    }
    let opened = text.get(..start).unwrap_or_default().chars().next_back();
    let closing = match opened {
        Some(mark @ ('"' | '\'' | '`')) => Some(mark),
        Some('“' | '„') => Some('”'),
        Some('‘') => Some('’'),
        _ => None,
    };
    let is_password = |value: &str| PASSWORD_BYTES.contains(&value.len()) && !is_placeholder(value);
    let value = match closing {
        Some(mark) => {
            let end = bounded(value).find([mark, '\n', '\\', '“'])?;
            let quoted = value.get(..end)?;
            Some(quoted).filter(|quoted| is_password(quoted) && !is_sentence(quoted))
        }
        None => Some(unquoted(value)).filter(|bare| {
            is_password(bare)
                && !is_code(bare, tail(value, bare.len()))
                && is_chosen(bare, tail(value, bare.len()), link)
        }),
    }?;
    Some(Found { place: start..start + value.len(), kind: "password", hint: Hint::Never })
}

/// True for what a form or a message says about passwords, and for a type's name.
fn is_sentence(quoted: &str) -> bool {
    let words = quoted.split_whitespace().count();
    let no_values = quoted.split_whitespace().filter(|word| is_no_value(word)).count();
    if words == 1 { is_no_value(first_word(quoted)) } else { no_values > 1 }
}

/// As much of a text as a password can be, and the mark behind it.
fn bounded(text: &str) -> &str {
    text.get(..text.floor_char_boundary(PASSWORD_BYTES.end() + 4)).unwrap_or_default()
}

/// A value without quotation marks: up to white space, a quotation mark, or punctuation that is not part of it.
fn unquoted(text: &str) -> &str {
    let text = bounded(text);
    let end = text
        .char_indices()
        .find(|(at, char)| match char {
            '"' | '\'' | '`' | '<' | '>' | '\\' => true,
            ',' | ';' | '&' | ')' | ']' | '}' | '|' => ends_value(tail(text, at + 1)),
            char => char.is_whitespace(),
        })
        .map_or(text.len(), |(at, _)| at);
    text.get(..end).unwrap_or_default().trim_end_matches(['.', ',', ';', ':', '?', '*'])
}

/// True behind a mark of punctuation when the value was over before it: nothing follows, or white space, or the next name.
fn ends_value(rest: &str) -> bool {
    let name = run(rest, is_word);
    rest.chars().next().is_none_or(|char| char.is_whitespace() || ",;&)]}|\"'`\\".contains(char))
        || (!name.is_empty() && tail(rest, name.len()).starts_with(['=', ':']))
}

/// True for what stands for a password that is not shown.
pub fn is_placeholder(value: &str) -> bool {
    let value = value.trim();
    let named = value.trim_start_matches(['$', '%', '@', ':', '&', '#', '{', '<', '[', '(']);
    let is_name = run(named, |byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.')).len();
    let is_reference =
        named.len() < value.len() && tail(named, is_name).chars().all(|char| "}>])%$!#".contains(char));
    let is_hidden = value.chars().all(|char| matches!(char, '*' | 'x' | 'X' | '•' | '.' | '…' | '-' | '_'));
    let lower = value.to_ascii_lowercase();
    let is_described = !value.bytes().any(|byte| byte.is_ascii_digit())
        && (lower.starts_with("your") || lower.starts_with("my-") || lower.contains("passw"));
    value.starts_with("${")
        || value.starts_with("{{")
        || value.starts_with("$(")
        || is_reference
        || is_hidden
        || is_described
}

/// True for an expression: a call, an index, a path of names.
fn is_code(value: &str, rest: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    };
    let head = run(value, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':'));
    let next = tail(value, head.len()).chars().next().or_else(|| rest.chars().next());
    let is_call = !head.is_empty() && matches!(next, Some('(' | '[' | '{' | '<'));
    let is_path = value.split(['.', ':']).count() > 1
        && value.split(['.', ':']).all(|part| part.is_empty() || is_part(part));
    let is_camel = is_part(value) && (value.contains('_') || last_segment(value).0.len() > 1);
    let is_file = value.starts_with(['/', '~', '(', '[', '{', '&', '=']) || value.starts_with("./");
    is_call || is_path || is_camel || is_file
}

/// True for a value that somebody chose as a password: not a word of the sentence around it, not a date, not a length.
fn is_chosen(value: &str, rest: &str, link: Link) -> bool {
    if is_no_value(first_word(value)) {
        return false;
    }
    let letters =
        |word: &str| word.chars().all(|char| char.is_alphabetic() || matches!(char, '-' | '\'' | '’'));
    if letters(value) {
        // A word is one only where the sentence or the line is over behind it; hyphens make phrases of words.
        let is_over = rest.trim_start_matches(['.', ',', ';', '!', '?', ')', '"', '*']);
        let is_over = is_over.is_empty()
            || is_over.starts_with(['\n', '\r', '\\', '&', '}', '\'', '`'])
            || is_over.len() < rest.len();
        let is_participle = value.ends_with("ed") || value.ends_with("ing");
        return value.matches('-').count() >= 3
            || (is_over && !(link == Link::Verb && is_participle) && !value.contains('-'));
    }
    if value.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.' | b'/' | b':')) {
        let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
        return is_number && rest.trim_start().chars().next().is_none_or(|char| !char.is_alphabetic());
    }
    true
}

/// What a value starts with, as far as it is letters.
fn first_word(value: &str) -> &str {
    let end = value.find(|char: char| !char.is_alphabetic()).unwrap_or(value.len());
    // `hunter2` and `correct-horse` begin with a word, too; only what ends there is one.
    let is_word = !tail(value, end)
        .starts_with(|char: char| char.is_numeric() || matches!(char, '_' | '@' | '!' | '#' | '$' | '-'));
    value.get(..end).filter(|_| is_word).unwrap_or_default()
}

fn is_no_value(word: &str) -> bool {
    let word = word.trim_matches(|char: char| !char.is_alphanumeric());
    NO_VALUES.split(' ').any(|known| word.eq_ignore_ascii_case(known))
}
