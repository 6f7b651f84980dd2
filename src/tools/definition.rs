//! How models and MCP clients are told of a tool.
//!
//! Invariant: a tool is known by the same name in a header, in a project's settings and on every wire.

use serde_json::{Value, json};

use crate::project::Tool;

/// What a model is told of a tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// Its name on the wire.
    pub name: &'static str,
    /// What it does, and when to use it.
    pub description: &'static str,
    /// The JSON schema of its arguments: an object.
    pub parameters: Value,
}

impl Tool {
    /// All of them.
    pub const ALL: [Tool; 2] = [Tool::WebSearch, Tool::Recall];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Tool::WebSearch => "web_search",
            Tool::Recall => "recall",
        }
    }

    /// The tool of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Tool::ALL.into_iter().find(|tool| tool.name() == name)
    }

    /// What a model is told of it.
    pub fn definition(self) -> Definition {
        match self {
            Tool::WebSearch => Definition {
                name: self.name(),
                description: "Searches the web and gives a numbered list of results: title, address, date and an \
                    excerpt. Use it for what is newer than your knowledge or has to be checked. Where your answer \
                    rests on a result, name its number in square brackets, like [2].",
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "query": {
                            "type": "string",
                            "description": "What to look for, as one would type it into a search engine.",
                        },
                        "recency": {
                            "type": "string",
                            "enum": ["day", "week", "month", "year"],
                            "description": "Only results of the last day, week, month or year.",
                        },
                    },
                    "required": ["query"],
                    "additionalProperties": false,
                }),
            },
            Tool::Recall => Definition {
                name: self.name(),
                description: "Looks up what was said earlier with this user, word for word, also where it is no \
                    longer in front of you. Give `query` to search messages and notes; give `open` with the \
                    reference of something found to read the messages around it, or those that a note rests on.",
                parameters: json!({
                    "type": "object",
                    "properties": {
                        "query": {
                            "type": "string",
                            "description": "Words that were said: names, numbers, things.",
                        },
                        "open": {
                            "type": "string",
                            "description": "A reference from an earlier result, like `msg_…` or `note_7`.",
                        },
                        "cursor": {
                            "type": "string",
                            "description": "Where an earlier result with the same arguments was cut, as it said.",
                        },
                    },
                    "additionalProperties": false,
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_on_the_wire_are_those_of_the_settings() {
        for tool in Tool::ALL {
            assert_eq!(serde_json::to_value(tool).unwrap(), json!(tool.name()));
            assert_eq!((Tool::from_name(tool.name()), tool.definition().name), (Some(tool), tool.name()));
        }
        assert_eq!(Tool::from_name("shell"), None);
    }
}
