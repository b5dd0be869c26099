//! Swarm: a machine that is in none. What is wrong with a request itself is said first, as Docker does.

use engine_api::error::{ApiError, Result};
use engine_api::{Operation, Query, json};
use serde_json::Value;

use crate::dispatch::Context;

pub(crate) const NOT_A_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
                                        to connect this node to swarm and try again.";

/// What a version of an object has to be, where one is asked for.
fn version(query: &Query, noun: &str) -> Option<ApiError> {
    let text = query.text("version");
    if text.parse::<u64>().is_ok() {
        return None;
    }
    Some(ApiError::invalid(match noun {
        "secret" | "config" => format!("invalid {noun} version"),
        _ => format!(
            "invalid {noun} version '{text}': strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ),
    }))
}

/// What is wrong with the addresses of `init` and `join`.
fn addresses(body: &Value, join: bool) -> Option<ApiError> {
    let listen = body["ListenAddr"].as_str().unwrap_or_default();
    if listen.is_empty() {
        return Some(ApiError::invalid(
            "invalid ListenAddr \"\": invalid empty address",
        ));
    }
    let remotes = body["RemoteAddrs"].as_array().map_or(0, Vec::len);
    (join && remotes == 0).then(|| ApiError::invalid("at least 1 RemoteAddr is required to join"))
}

/// The answer to an operation of swarm: why not.
pub(crate) async fn answer(operation: Operation, mut context: Context) -> Result<ApiError> {
    use Operation as Op;
    let query = context.query.clone();
    let first = match operation {
        Op::SwarmInit | Op::SwarmJoin => {
            let body: Value = json::parse_or_default(&context.document().await?)?;
            let join = operation == Op::SwarmJoin;
            let what = if join { "join" } else { "init" };
            return Ok(addresses(&body, join)
                .unwrap_or_else(|| ApiError::unsupported(format!("docker swarm {what}"))));
        }
        Op::SwarmLeave => return Ok(ApiError::unavailable("This node is not part of a swarm")),
        Op::SwarmUpdate => version(&query, "swarm"),
        Op::NodeUpdate => version(&query, "node"),
        Op::ServiceUpdate => version(&query, "service"),
        Op::SecretUpdate => version(&query, "secret"),
        Op::ConfigUpdate => version(&query, "config"),
        Op::ServiceLogs | Op::TaskLogs if !query.flag("stdout") && !query.flag("stderr") => Some(
            ApiError::system("Bad parameters: you must choose at least one stream"),
        ),
        _ => None,
    };
    Ok(first.unwrap_or_else(|| ApiError::unavailable(NOT_A_MANAGER)))
}
