//! The way out between the machines and the browser: requests that the loader carries out with `fetch`.
//!
//! They cross as JSON with the bytes of a body beside it, as those of `ports` do.

use serde::{Deserialize, Serialize};

/// A request of a program for a server of the Internet; its body travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetRequest {
    /// Names the answer.
    pub id: u32,
    /// The method.
    pub method: String,
    /// Host, path and query.
    pub address: String,
    /// Those that a page may set.
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(skip)]
    pub body: Vec<u8>,
}

/// What became of it; the body of an answer travels beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InternetAnswer {
    /// The server answered.
    Answered {
        /// The status.
        status: u16,
        /// Those that the server lets pages see.
        headers: Vec<(String, String)>,
        /// The body.
        #[serde(skip)]
        body: Vec<u8>,
    },
    /// The server is there, and does not let pages of other origins read it.
    Cors,
    /// The server does not answer.
    Unreachable {
        /// As the browser says it.
        text: String,
    },
}

impl InternetRequest {
    /// The request as the loader gets it: JSON, and the bytes that travel beside it.
    pub fn split(mut self) -> (String, Vec<u8>) {
        let body = std::mem::take(&mut self.body);
        (serde_json::to_string(&self).unwrap_or_default(), body)
    }
}

impl InternetAnswer {
    /// From what the loader gives; what it cannot have given is no answer.
    pub fn join(text: &str, beside: Vec<u8>) -> InternetAnswer {
        let mut answer = serde_json::from_slice(text.as_bytes()).unwrap_or_else(|error| {
            let text = format!("unreadable answer of the loader: {error}");
            InternetAnswer::Unreachable { text }
        });
        if let InternetAnswer::Answered { body, .. } = &mut answer {
            *body = beside;
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_loader_writes_them() {
        let answered = r#"{"Answered":{"status":200,"headers":[["content-type","text/plain"]]}}"#;
        assert_eq!(
            InternetAnswer::join(answered, b"x".to_vec()),
            InternetAnswer::Answered {
                status: 200,
                headers: vec![("content-type".into(), "text/plain".into())],
                body: b"x".to_vec(),
            }
        );
        assert_eq!(
            InternetAnswer::join("\"Cors\"", Vec::new()),
            InternetAnswer::Cors
        );
        assert!(matches!(
            InternetAnswer::join("{}", Vec::new()),
            InternetAnswer::Unreachable { .. }
        ));
    }
}
