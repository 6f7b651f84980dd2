//! Many turns of one conversation: what a request has in common with the one before it.

use super::*;

/// Thirty turns: what is said or returned, and the answer. Some call tools, one of them very many at once.
fn script() -> Vec<(Vec<Message>, Message)> {
    let mut steps = Vec::new();
    for turn in 1..=30 {
        let question = user(&format!("question {turn}"));
        if turn % 5 == 3 {
            let ids: Vec<String> =
                (0..if turn == 13 { 25 } else { 2 }).map(|at| format!("call_{turn}_{at}")).collect();
            let call = |id: &String| {
                let call = ToolCall {
                    id: id.clone(),
                    name: "f".into(),
                    arguments: "{}".into(),
                    ..ToolCall::default()
                };
                Part::from(PartKind::ToolCall(call))
            };
            let result = |id: &String| {
                let content = vec![Part::text(format!("result of {id}"))];
                let result = ToolResult { call_id: id.clone(), content, custom: false, is_error: false };
                Message::new(Role::Tool, vec![PartKind::ToolResult(result).into()])
            };
            steps.push((vec![question], Message::new(Role::Assistant, ids.iter().map(call).collect())));
            steps.push((ids.iter().map(result).collect(), assistant(&format!("answer {turn}"))));
        } else {
            steps.push((vec![question], assistant(&format!("answer {turn}"))));
        }
    }
    steps
}

/// The script as a client has played it through.
struct Played {
    way: Way,
    /// The client sends all of the history each time.
    full: bool,
    /// The provider's requests.
    sent: Vec<String>,
    /// The same requests if the volatile text were [`LATER`].
    later: Vec<String>,
}

const LATER: &str = "<conversation_now>\n2026-11-25, and more\n</conversation_now>";

/// Every way, with a client that sends what is new and one that sends all.
static PLAYED: LazyLock<Vec<Played>> =
    LazyLock::new(|| WAYS.iter().flat_map(|way| [play(*way, false), play(*way, true)]).collect());

fn play(way: Way, full: bool) -> Played {
    let mut thread = Thread::new();
    let mut history: Vec<Message> = Vec::new();
    let (mut sent, mut later) = (Vec::new(), Vec::new());
    for (inputs, answer) in script() {
        history.extend(inputs.clone());
        let text = request(way, if full { &history } else { &inputs }).to_string();
        let mut begun = None;
        sent.push(way.written(&text, &all(), |messages| {
            let request = thread.request(&messages);
            let Prepared::Ready { items, .. } =
                thread::prepare(&thread.store, &request, support::around(&thread.settings)).unwrap()
            else {
                panic!("not ready")
            };
            begun = Some((request, items.clone()));
            items
        }));
        let (request, items) = begun.unwrap();
        let injection = Injection { volatile: Some(LATER.into()), ..all() };
        later.push(way.written(&text, &injection, |_| items));
        history.push(answer.clone());
        let origin = Some(Origin { dialect: way.target, provider: way.provider.into() });
        let ended = thread.end(&request, TurnStatus::Complete, Some(Message { origin, ..answer }));
        assert_eq!(ended, Committed::Stored);
    }
    Played { way, full, sent, later }
}

/// A prompt piece by piece, in the order in which its provider reads it, and whether a mark stands behind the piece. A text
/// is the same with and without the parts around it.
fn pieces(dialect: Dialect, body: &str) -> Vec<(String, bool)> {
    let body: Value = serde_json::from_str(body).unwrap();
    let listed = |value: &Value, kind: &str| match value {
        Value::String(text) => vec![json!({"type": kind, "text": text})],
        Value::Array(items) => items.clone(),
        _ => Vec::new(),
    };
    let mut out = Vec::new();
    let mut add = |role: &str, mut piece: Value| {
        let marked = piece.as_object_mut().and_then(|fields| fields.shift_remove("cache_control")).is_some();
        out.push((format!("{role} {piece}"), marked));
    };
    listed(&body["tools"], "").into_iter().for_each(|tool| add("tool", tool));
    match dialect {
        Dialect::Messages => {
            listed(&body["system"], "text").into_iter().for_each(|block| add("system", block));
            for message in body["messages"].as_array().unwrap() {
                let role = message["role"].as_str().unwrap();
                listed(&message["content"], "text").into_iter().for_each(|block| add(role, block));
            }
        }
        Dialect::Chat => {
            for message in body["messages"].as_array().unwrap() {
                let mut rest = message.clone();
                let content = rest.as_object_mut().unwrap().shift_remove("content").unwrap_or_default();
                let parts = listed(&content, "text");
                parts.into_iter().for_each(|part| add(&rest.to_string(), part));
                listed(&message["tool_calls"], "").into_iter().for_each(|call| add("call", call));
            }
        }
        Dialect::Responses => {
            add("instructions", body["instructions"].clone());
            for item in body["input"].as_array().unwrap() {
                let mut item = item.clone();
                let fields = item.as_object_mut().unwrap();
                if let Some(role) = fields.get("role").cloned() {
                    fields.shift_remove("type");
                    let kind = if role == "assistant" { "output_text" } else { "input_text" };
                    let content = listed(&fields["content"], kind);
                    fields.insert("content".into(), content.into());
                }
                add("", item);
            }
        }
        Dialect::Google => {
            listed(&body["systemInstruction"]["parts"], "").into_iter().for_each(|part| add("system", part));
            for content in body["contents"].as_array().unwrap() {
                let role = content["role"].as_str().unwrap();
                listed(&content["parts"], "").into_iter().for_each(|part| add(role, part));
            }
        }
    }
    out
}

fn texts(pieces: &[(String, bool)]) -> Vec<&str> {
    pieces.iter().map(|(text, _)| text.as_str()).collect()
}

/// A text as it stands inside a JSON string.
fn escaped(text: &str) -> String {
    json!(text).to_string().trim_matches('"').to_owned()
}

#[test]
fn over_thirty_turns_each_request_begins_with_the_one_before_it() {
    for Played { way, full, sent, .. } in PLAYED.iter() {
        assert_eq!(sent.len(), 36);
        let prompts: Vec<Vec<(String, bool)>> = sent.iter().map(|body| pieces(way.target, body)).collect();
        for (at, two) in prompts.windows(2).enumerate() {
            let (before, after) = (texts(&two[0]), texts(&two[1]));
            assert!(after.len() > before.len(), "{way:?} {full} {at}");
            assert_eq!(after[..before.len()], before, "{way:?}, all of the history: {full}, request {at}");
        }
        let last = sent.last().unwrap();
        for text in ["question 1\"", "answer 30", &escaped(PROFILE), &escaped(NOTES), &escaped(NOW)] {
            let expected = usize::from(text != "answer 30");
            assert_eq!(last.matches(text).count(), expected, "{way:?}, all of the history: {full}: {text}");
        }
    }
}

#[test]
fn the_same_request_is_the_same_bytes_but_for_what_is_volatile() {
    for Played { way, full, sent, later } in PLAYED.iter() {
        for (one, other) in sent.iter().zip(later) {
            assert_eq!(one.replace(&escaped(NOW), &escaped(LATER)), *other, "{way:?} {full}");
        }
    }
}

/// Anthropic's cache: what stands before a mark is written, and read again from a mark that has it within reach.
#[derive(Default)]
struct Cache(BTreeSet<Vec<String>>);

impl Cache {
    /// How many pieces of a prompt are read from the cache, which then holds what is marked.
    fn ask(&mut self, prompt: &[(String, bool)]) -> usize {
        let texts: Vec<String> = prompt.iter().map(|(text, _)| text.clone()).collect();
        let marks: Vec<usize> = (0..prompt.len()).filter(|at| prompt[*at].1).collect();
        let hit = marks
            .iter()
            .flat_map(|mark| (mark.saturating_sub(19)..=*mark).rev())
            .filter(|end| self.0.contains(&texts[..=*end]))
            .max();
        self.0.extend(marks.iter().map(|mark| texts[..=*mark].to_vec()));
        hit.map_or(0, |end| end + 1)
    }
}

#[test]
fn what_one_request_has_marked_the_next_one_reads_from_the_cache() {
    let marked = |way: &Way| way.target == Dialect::Messages || way.provider == "openrouter";
    for Played { way, full, sent, .. } in PLAYED.iter().filter(|played| marked(&played.way)) {
        let (mut cache, mut written, mut newest) = (Cache::default(), 0, 0);
        for (at, body) in sent.iter().enumerate() {
            let prompt = pieces(way.target, body);
            let marks = prompt.iter().filter(|(_, marked)| *marked).count();
            assert!((2..=4).contains(&marks), "{way:?} {at}: {marks}");
            assert!(cache.ask(&prompt) >= written, "{way:?}, all of the history: {full}, request {at}");
            written = prompt.iter().rposition(|(_, marked)| *marked).unwrap() + 1;
            newest = prompt.len() - written;
        }
        assert_eq!(newest, 1, "all but the newest message is marked at last: {way:?} {full}");
    }
}
