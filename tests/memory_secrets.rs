//! What is masked as a secret, and what only looks like one.
//!
//! The secrets are made up, and put together here, so that no scanner of repositories takes them for real.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::string_slice)]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use memory_gateway::memory::secrets::mask;

/// Characters as if drawn by lot, from an alphabet.
fn lot(alphabet: &str, count: usize) -> String {
    let alphabet: Vec<char> = alphabet.chars().collect();
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            alphabet[usize::try_from(state >> 33).unwrap() % alphabet.len()]
        })
        .collect()
}

fn mixed(count: usize) -> String {
    lot("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", count)
}

fn hex(count: usize) -> String {
    lot("0123456789abcdef", count)
}

fn capitals(count: usize) -> String {
    lot("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", count)
}

fn last_four(secret: &str) -> &str {
    &secret[secret.len() - 4..]
}

#[test]
fn a_key_is_known_by_its_issuers_form_and_leaves_its_kind_and_last_characters() {
    let jwt = |parts: &[&str]| parts.join(".");
    let body = mixed(40);
    for (secret, kind) in [
        (format!("sk-proj-{}-{}_{}", mixed(40), mixed(20), mixed(90)), "OpenAI key"),
        (format!("sk-svcacct-{}", mixed(80)), "OpenAI key"),
        (format!("sk-{}", mixed(48)), "API key"),
        (format!("sk-{}", hex(32)), "API key"),
        (format!("sk-ant-api03-{}-{}AA", mixed(60), mixed(30)), "Anthropic key"),
        (format!("sk-or-v1-{}", hex(64)), "OpenRouter key"),
        (format!("AIza{}", mixed(35)), "Google key"),
        (format!("AQ.{}", mixed(40)), "Google key"),
        (format!("ya29.{}", mixed(60)), "Google token"),
        (format!("AKIA{}", capitals(16)), "AWS key id"),
        (format!("ghp_{}", mixed(36)), "GitHub token"),
        (format!("github_pat_{}_{}", mixed(22), mixed(59)), "GitHub token"),
        (format!("glpat-{}", mixed(20)), "GitLab token"),
        (format!("xoxb-123456789012-1234567890123-{}", mixed(24)), "Slack token"),
        (format!("sk_live_{}", mixed(24)), "Stripe key"),
        (format!("rk_test_{}", mixed(24)), "Stripe key"),
        (format!("msk_{}", mixed(43)), "gateway key"),
        (format!("gsk_{}", mixed(52)), "Groq key"),
        (format!("xai-{}", mixed(80)), "xAI key"),
        (format!("sk_{}", hex(48)), "ElevenLabs key"),
        (format!("fw_{}", mixed(24)), "Fireworks key"),
        (format!("nvapi-{}-{}", mixed(30), mixed(30)), "NVIDIA key"),
        (format!("hf_{}", mixed(34)), "Hugging Face token"),
        (format!("npm_{}", mixed(36)), "npm token"),
        (format!("SG.{}.{}", mixed(22), mixed(43)), "SendGrid key"),
        (format!("1234567890:AA{}", mixed(33)), "Telegram token"),
        (jwt(&[&format!("eyJ{}", mixed(17)), &format!("eyJ{body}"), &body]), "JWT"),
        (jwt(&[&format!("eyJ{}", mixed(17)), &body, &mixed(22), &body, &mixed(22)]), "JWT"),
    ] {
        let masked = format!("[secret: {kind} …{}]", last_four(&secret));
        for (before, behind) in [
            ("", ""),
            ("use ", " for this"),
            ("(", ")."),
            ("KEY=", "\nNEXT=1"),
            (r#"{"a":"x\n"#, r#"\n"}"#),
            ("?q=a%3D", "%26b"),
            ("é", "é"),
        ] {
            assert_eq!(mask(&format!("{before}{secret}{behind}")), format!("{before}{masked}{behind}"));
        }
    }
}

#[test]
fn a_secret_is_known_by_the_words_before_it() {
    let key = mixed(40);
    let short = "a1b2c3d4e5f6";
    for (text, masked) in [
        // Passwords: whatever somebody chose, and never any of it.
        ("My password is hunter2.", "My password is [secret: password]."),
        ("the wifi password is swordfish", "the wifi password is [secret: password]"),
        ("Password: Tr0ub4dor&3", "Password: [secret: password]"),
        ("**Password:** `s3cr3t!`", "**Password:** `[secret: password]`"),
        ("password is correct-horse-battery-staple", "password is [secret: password]"),
        (r#"password = "correct horse battery staple""#, r#"password = "[secret: password]""#),
        (
            r#"{"user":"a","password":"hunter2","port":1}"#,
            r#"{"user":"a","password":"[secret: password]","port":1}"#,
        ),
        (r#""{\"password\":\"hunter2\"}""#, r#""{\"password\":\"[secret: password]\"}""#),
        ("Server=db;Uid=sa;Pwd=Passw0rd,x1;Port=1", "Server=db;Uid=sa;Pwd=[secret: password];Port=1"),
        ("/login?password=abc123&user=me", "/login?password=[secret: password]&user=me"),
        ("DB_PASSWORD=letmein\nDB_HOST=x", "DB_PASSWORD=[secret: password]\nDB_HOST=x"),
        ("smtp_pass: xyzzy-42", "smtp_pass: [secret: password]"),
        ("Mein Passwort ist Geheim123", "Mein Passwort ist [secret: password]"),
        ("password: 12345678", "password: [secret: password]"),
        ("I changed the password to blue42sky!", "I changed the password to [secret: password]"),
        ("postgres://app:p%40ss/word@db:5432/x", "postgres://app:p%40ss/word@db:5432/x"),
        ("postgres://app:p%40ssw0rd@db:5432/x", "postgres://app:[secret: password]@db:5432/x"),
        ("redis://:hunter2@cache", "redis://:[secret: password]@cache"),
        // Credentials: what was drawn by lot behind a word for it.
        (
            &format!("api_key={key}"),
            &format!("api_key=[secret: API key …{}]", last_four(&key)).replace("API key", "key"),
        ),
        (&format!("My API key is {short}."), "My API key is [secret: key]."),
        (&format!("apiKey: '{key}'"), &format!("apiKey: '[secret: key …{}]'", last_four(&key))),
        (
            "aws_secret_access_key = wJalrXUtnF3MI/K7MDENG/bPxRf1CYEXAMPLEKEY",
            "aws_secret_access_key = [secret: key …EKEY]",
        ),
        ("client_secret: a1b2c3d4e5f6", "client_secret: [secret: secret]"),
        ("HEROKU_API_KEY=550e8400-e29b-41d4-a716-446655440000", "HEROKU_API_KEY=[secret: key …0000]"),
        ("token: 9f86d081884c7d659a2feaa0c55ad015", "token: [secret: token …d015]"),
        ("AccountKey=aB3dE5gH7jK9mN1pQ3sT==;x", "AccountKey=[secret: key …sT==];x"),
        (&format!("key={key}"), &format!("key=[secret: key …{}]", last_four(&key))),
        (
            &format!("Authorization: Bearer {key}"),
            &format!("Authorization: Bearer [secret: token …{}]", last_four(&key)),
        ),
        ("Authorization: Basic YWRtaW46aHVudGVyMg==", "Authorization: Basic [secret: credential …Mg==]"),
        ("CVV: 123", "CVV: [secret: card code]"),
    ] {
        assert_eq!(mask(text), masked, "{text}");
    }
}

#[test]
fn a_private_key_goes_as_a_whole_however_its_lines_are_joined() {
    let lines = [mixed(64), mixed(64), format!("{}==", mixed(22))];
    for label in
        ["PRIVATE KEY", "RSA PRIVATE KEY", "OPENSSH PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PRIVATE KEY"]
    {
        let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
        for glue in ["\n", "\r\n", "\\n", "\\\\n", "\n  ", "\n| ", " "] {
            let key = [&begin, &lines[0], &lines[1], &lines[2], &end].map(String::as_str).join(glue);
            assert_eq!(mask(&format!("a {key} b")), "a [secret: private key] b", "{glue:?}");
        }
        let torn = format!("{begin}\n{}\n{}", lines[0], lines[1]);
        assert_eq!(mask(&format!("{torn}\n\nWhat is this?")), "[secret: private key]\n\nWhat is this?");
    }
    let encrypted = format!(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17F5\n\n{}\n-----END RSA PRIVATE KEY-----",
        lines[0]
    );
    assert_eq!(mask(&encrypted), "[secret: private key]");
    let pgp = format!(
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: GnuPG v2\n\n{}\n=aB1c\n-----END PGP PRIVATE KEY BLOCK-----\n",
        lines[0]
    );
    assert_eq!(mask(&pgp), "[secret: private key]\n");
}

#[test]
fn a_card_is_known_by_issuer_length_grouping_and_check_digit() {
    for (number, last) in [
        ("4242424242424242", "4242"),
        ("4242 4242 4242 4242", "4242"),
        ("4242-4242-4242-4242", "4242"),
        ("5555555555554444", "4444"),
        ("2223003122003222", "3222"),
        ("3782 822463 10005", "0005"),
        ("378282246310005", "0005"),
        ("3056 930902 5904", "5904"),
        ("6011111111111117", "1117"),
        ("4222 222 222 222", "2222"),
        ("6212345678901234569", "4569"),
        ("5738 2910 4657 3829 109", "9109"),
    ] {
        for (before, behind) in [("", ""), ("card ", " 12/27 123"), ("(", ")"), ("pay 3 with ", ".")] {
            assert_eq!(
                mask(&format!("{before}{number}{behind}")),
                format!("{before}[secret: card number …{last}]{behind}")
            );
        }
    }
}

#[test]
fn technical_strings_stay_as_they_are() {
    for text in [
        "commit 5d41402abc4b2a76b9719d911017c592 and 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "integrity: sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        r#"{"key": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}"#,
        "id 550e8400-e29b-41d4-a716-446655440000, key: 550e8400-e29b-41d4-a716-446655440000",
        "token: 550e8400-e29b-41d4-a716-446655440000",
        "a1b2c3d4-4111-1111-1111-111111111111",
        "aGVsbG8gd29ybGQ= and SGVsbG8sIFdvcmxkIQ==",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "order 4242424242424241, invoice 1234567890123456, article 4006381333931, at 1732550400000",
        "4532 1488 0343 6468, 4242 4242-4242 4242, 0.4242424242424242, id_4242424242424242",
        "0000 0000 0000 0000, 4444444444444444, 42424242424242424242",
        "2026-11-24T14:03:00.000Z, 2026-11-24 14:03, 24.11.2026, +49 170 1234567, (555) 010-9999, +4242424242424242",
        "https://maps.example.com/?cid=5738291046573829109, post 501234567890123451, 4573829104657382918",
        "IBAN DE89 3704 0044 0532 0130 00",
        "items[0] → items[1], a[i][j], x = y[0]; { \"a\": [1, 2] }",
        "sk-fading-circle-container-large, sk-spinner-1, sk-your-api-key-goes-here, sk-..., sk-xxxxxxxxxxxxxxxxxxxxxxxx",
        "task-runner-2024, ask-me-anything-about-2026, hf_transformers_version_number_four",
        "api_key = os.environ[\"API_KEY\"], apiKey: process.env.API_KEY2, key=YOUR_API_KEY, <YOUR_TOKEN>, $TOKEN",
        "Authorization: Bearer $TOKEN, Bearer <token>, Bearer YOUR_TOKEN_HERE, the bearer of bad news",
        "Basic understanding of authorization: none, authorization: Basic",
        "max_tokens=4096, \"total_tokens\": 12345, token_count: 1234567890123456, tokenizer=o200k_base",
        "key=uploads/2024/11/24/a1b2c3d4e5f6.png, cache_key: user1page2sort3limit4x5, primary key: id, keys: a1b2",
        "key: 9f86d081884c7d659a2feaa0c55ad015",
        "if password == other.password { return password.len(); }",
        "fn login(user: &str, password: &str) -> Result<Token, Error>",
        "password: String, password: Optional[str] = None, password=None, password: string;",
        "password = getpass(), password = request.form[\"password\"], password: config.db.password",
        "password = user_password; this.password = newPassword;",
        "\"password\": { \"type\": \"string\" }, 'password' => 'required|string|min:8'",
        "<input type=\"password\" name=\"password\" placeholder=\"Enter password\">",
        "postgres://user:${DB_PASSWORD}@host/db, mysql://root:<password>@localhost, https://u:****@h, http://[::1]:80/@x",
        "https://example.com:8080/a@b, git@github.com:user/repo.git, ssh://git@host:22/x",
        "PASSWORD=$PASSWORD, PASSWORD=${PASSWORD}, password=<password>, password: ********, password=@password, {{password}}",
        "The password is wrong. The password is required. My password is not working. The password is 8 characters long.",
        "Your password must have 12 characters. Password: must contain a digit. Forgot your password: click here",
        "password is case-sensitive, the password is auto-generated, the password is out-of-date, the password is stored hashed",
        "PWD=/home/user/project OLDPWD=/tmp, password length: 12, password: 8-64 characters, password: 2026-11-24",
        "error.password: \"Password is required\", \"password\": \"Must be at least 8 characters\"",
        "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END CERTIFICATE-----",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
        "A PEM file starts with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----.",
        "Token::new(a), std::token::Key, secret: ConfigMap, secretName: my-app-tls, secret: true",
        "eyJhIjoxfQ and eyJhIjoxfQ.short, foo.bar.baz, a.b",
        "cvv is on the back, CVC: 3 digits, pin 1234",
    ] {
        assert_eq!(mask(text), text);
        assert!(matches!(mask(text), Cow::Borrowed(_)));
    }
}

#[test]
fn masked_text_is_masked_no_further_and_a_false_mask_hides_nothing() {
    let key = format!("sk-proj-{}", mixed(60));
    let text =
        format!("a {key} password: hunter2 4242424242424242 api_key={} postgres://a:b1c2@h", mixed(30));
    let masked = mask(&text).into_owned();
    assert_eq!(mask(&masked), masked);
    assert_eq!(
        mask(&format!("[secret: {key}]")),
        format!("[secret: [secret: OpenAI key …{}]]", last_four(&key))
    );
    assert_eq!(mask(&format!("password: {masked}")), format!("password: {masked}"));
}

#[test]
fn the_work_grows_with_the_length_whatever_the_text() {
    for piece in [
        "a",
        "sk-",
        "eyJ",
        "eyJaaaaaaaaaaaaaaaaaa.",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----A: b\n",
        "-----BEGIN PRIVATE KEY-----\nAAAAAAAAAAAAAAAA1\n",
        "://",
        "://a:b",
        "password=",
        "password: \"",
        "password is ",
        "token=",
        "Bearer ",
        "4242 ",
        "4",
        "[secret: ",
        "\\n",
        "%3D",
        "key:",
        "a.",
        "A/",
        "aaaaaaaaaaaaaaaaaaaaaaaa/",
        "é",
        "`",
        "-",
    ] {
        let time = |count: usize| {
            let text = piece.repeat(count / piece.len());
            let start = Instant::now();
            let _ = mask(&text);
            start.elapsed()
        };
        // Sixteen times the text: sixteen times the work and noise, where the square would be 256 times. The machine may be
        // busy with something else for a while.
        let is_in_proportion = (0..5).any(|_| time(256_000) < time(16_000) * 80 + Duration::from_millis(50));
        assert!(is_in_proportion, "{piece}: {:?}, {:?}", time(16_000), time(256_000));
    }
}

#[test]
fn no_text_makes_it_stumble() {
    let pieces = [
        "password",
        "is",
        "=",
        ":",
        "\"",
        "\\",
        "sk-",
        "msk_",
        "eyJ",
        ".",
        "@",
        "://",
        "-----BEGIN ",
        "PRIVATE KEY-----",
        "4242",
        "-",
        "é",
        "💥",
        "%",
        "%3",
        "\n",
        " ",
        "[secret: ",
        "]",
        "key",
        "token",
        "Bearer ",
        "a1B2c3D4e5F6",
        "“",
        "''",
    ];
    let mut state = 7u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(pieces[usize::try_from(state >> 33).unwrap() % pieces.len()]);
        }
        let masked = mask(&text).into_owned();
        assert_eq!(mask(&masked), masked, "{text}");
    }
}
