//! Which of the gateway's tools a request has.
//!
//! Invariant: a model is offered a tool only where it may call it and the gateway can answer; what cannot go together is a
//! 400 that says so, before anything is sent.

use crate::error::Error;
use crate::project::Tool;
use crate::request::{Request, ToolChoice, ToolKind};

/// The header that names them.
pub const HEADER: &str = "x-gateway-tools";

/// The tools that the header wants, or else the project. `has_memory`: the request names a thread. Errors: 400 for a name
/// that is no tool's, and for `recall` without memory; a project's `recall` waits for a request with memory.
pub fn wanted(header: Option<&str>, project: Option<&[Tool]>, has_memory: bool) -> Result<Vec<Tool>, Error> {
    let Some(names) = header.map(str::trim).filter(|names| !names.is_empty()) else {
        let tools = project.unwrap_or_default().iter().copied();
        return Ok(tools.filter(|tool| has_memory || *tool != Tool::Recall).collect());
    };
    if names.eq_ignore_ascii_case("none") {
        return Ok(Vec::new());
    }
    let mut tools = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let tool = Tool::from_name(name).ok_or_else(|| {
            Error::invalid(
                HEADER,
                format!("{HEADER} names `{name}`, which is no tool of the gateway. Give web_search, recall, both, or none."),
            )
        })?;
        if tool == Tool::Recall && !has_memory {
            return Err(Error::invalid(
                HEADER,
                "recall needs a conversation to look into. Send x-thread-id and x-resource-id as well, or leave it out.",
            ));
        }
        if !tools.contains(&tool) {
            tools.push(tool);
        }
    }
    Ok(tools)
}

/// Those of the tools that the request lets its model call. Errors: 400 for several answers, for a tool of the client's
/// with the same name, and for a choice that forces one of them.
pub fn allowed(mut wanted: Vec<Tool>, request: &Request) -> Result<Vec<Tool>, Error> {
    if request.tools.iter().any(|tool| matches!(tool.kind, ToolKind::WebSearch(_))) {
        // The provider searches already.
        wanted.retain(|tool| *tool != Tool::WebSearch);
    }
    if wanted.is_empty() {
        return Ok(wanted);
    }
    if request.n.is_some_and(|n| n > 1) {
        return Err(refused("n", "several answers cannot share the tools' results. Ask for one"));
    }
    let functions = || {
        request.tools.iter().filter_map(|tool| match &tool.kind {
            ToolKind::Function { name, .. } | ToolKind::Custom { name, .. } => Some(name.as_str()),
            ToolKind::WebSearch(_) | ToolKind::Server(_) => None,
        })
    };
    if let Some(tool) = wanted.iter().find(|tool| functions().any(|name| name == tool.name())) {
        let why =
            format!("a tool of yours is called `{}`, as the gateway's is. Call it otherwise", tool.name());
        return Err(refused("tools", &why));
    }
    let forced =
        || refused("tool_choice", "a tool of the gateway's cannot be forced. Leave the choice to the model");
    let is_ours = |name: &String| Tool::from_name(name).is_some_and(|tool| wanted.contains(&tool));
    match &request.tool_choice {
        None | Some(ToolChoice::Auto) => Ok(wanted),
        Some(ToolChoice::Named(name)) if is_ours(name) => Err(forced()),
        Some(ToolChoice::Allowed { names, .. }) if names.iter().any(is_ours) => Err(forced()),
        Some(ToolChoice::Required) if functions().next().is_none() => Err(forced()),
        // The model is to call a tool of the client's, or none.
        Some(_) => Ok(Vec::new()),
    }
}

fn refused(param: &str, why: &str) -> Error {
    Error::invalid(
        param,
        format!("The field `{param}` does not go with the gateway's tools: {why}, or send `{HEADER}: none`."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request;
    use serde_json::Map;

    #[test]
    fn the_header_overrules_the_project_and_names_are_checked() {
        let both = [Tool::WebSearch, Tool::Recall];
        assert_eq!(wanted(None, Some(&both), true).unwrap(), both);
        assert_eq!(wanted(None, Some(&both), false).unwrap(), [Tool::WebSearch]);
        assert_eq!(wanted(Some("none"), Some(&both), true).unwrap(), []);
        assert_eq!(
            wanted(Some(" recall, web_search,recall"), None, true).unwrap(),
            [Tool::Recall, Tool::WebSearch]
        );
        assert!(wanted(Some("shell"), None, true).unwrap_err().message().contains("`shell`"));
        assert!(wanted(Some("recall"), None, false).unwrap_err().message().contains("x-thread-id"));
    }

    #[test]
    fn what_cannot_go_together_is_refused_and_a_choice_of_the_client_s_leaves_the_tools_out() {
        let function = |name: &str| request::Tool {
            kind: ToolKind::Function { name: name.into(), description: None, parameters: None, strict: None },
            extra: Map::new(),
        };
        let ask = |n, tools: &[&str], choice| {
            let tools = tools.iter().map(|name| function(name)).collect();
            allowed(vec![Tool::WebSearch], &Request { n, tools, tool_choice: choice, ..Request::default() })
                .map_err(|error| error.body()["error"]["param"].as_str().unwrap_or_default().to_owned())
        };
        let named = |name: &str| Some(ToolChoice::Named(name.into()));
        assert_eq!(ask(None, &["mine"], None), Ok(vec![Tool::WebSearch]));
        assert_eq!(ask(Some(1), &[], Some(ToolChoice::Auto)), Ok(vec![Tool::WebSearch]));
        assert_eq!(ask(Some(2), &[], None), Err("n".into()));
        assert_eq!(ask(None, &["web_search"], None), Err("tools".into()));
        assert_eq!(ask(None, &["mine"], named("web_search")), Err("tool_choice".into()));
        assert_eq!(ask(None, &[], Some(ToolChoice::Required)), Err("tool_choice".into()));
        assert_eq!(ask(None, &["mine"], named("mine")), Ok(vec![]));
        assert_eq!(ask(None, &["mine"], Some(ToolChoice::Required)), Ok(vec![]));
        assert_eq!(ask(None, &["mine"], Some(ToolChoice::None)), Ok(vec![]));
    }
}
