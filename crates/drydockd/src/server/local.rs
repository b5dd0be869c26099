//! Who may ask over TCP: programs of this computer, not the web pages its browser shows.
//!
//! A page can make a browser send requests to loopback, and can have a name of its own that leads there. Its
//! requests say where they come from or whom they are for, and programs' requests do not say such things.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderValue, StatusCode};
use serve::{Body, LocalBoxFuture, Request, Response, Service};

/// A service for programs of this computer.
pub struct Local(pub Rc<dyn Service>);

impl Service for Local {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        let text = |name| match request.headers().get(name) {
            Some(value) => value.to_str().ok(),
            None => Some(""),
        };
        let host = text(HOST).is_some_and(is_here);
        // WebSocket libraries say where they are, as browsers say it of a page.
        let origin = text(ORIGIN).is_some_and(|origin| is_here(after_scheme(origin)));
        if host && origin {
            return self.0.call(request);
        }
        let text = "{\"message\":\"forbidden: requests of web pages and for other hosts are not answered\"}\n";
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::FORBIDDEN;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Box::pin(std::future::ready(response))
    }
}

/// `host[:port]` of an origin.
fn after_scheme(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}

/// Whether `host[:port]` names this computer.
fn is_here(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let address = name.parse::<IpAddr>();
    name.is_empty()
        || ["localhost", "docker"].contains(&name)
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_computer() {
        for here in [
            "",
            "localhost",
            "localhost:1",
            "127.0.0.1:2375",
            "[::1]:2375",
            "docker",
        ] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in [
            "example.com",
            "127.0.0.1.example.com:2375",
            "192.168.0.1",
            "[::2]:1",
        ] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
