//! The client side: one request on a fresh connection.

use std::future::{Future, poll_fn};
use std::task::Poll;

use clock::Executor;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Method, StatusCode};

use super::HEADERS_MAX;
use super::frame::{Framing, Reader, emit_headers, write_body};
use crate::{Body, BodyError, Io, IoError, Request, Response};

/// Sends a request and gives the response; its body is read on `executor`. After status 101 the
/// returned [`Io`] is the byte stream.
pub async fn send(
    io: Io,
    mut request: Request,
    executor: &Executor,
) -> Result<(Response, Option<Io>), IoError> {
    let body = std::mem::replace(request.body_mut(), Body::empty());
    let chunked = match body.len_hint() {
        Some(0) if matches!(*request.method(), Method::GET | Method::HEAD) => false,
        Some(length) => {
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from(length));
            false
        }
        None => {
            request
                .headers_mut()
                .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            true
        }
    };
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    let mut head = format!("{} {target} HTTP/1.1\r\n", request.method()).into_bytes();
    emit_headers(&mut head, request.headers());
    io.write_all(&head).await?;
    let is_head = request.method() == Method::HEAD;
    let upload = io.clone();
    executor.spawn(async move { write_body(&upload, body, chunked).await });

    let mut reader = Reader::new(io.clone());
    let (mut response, framing) = loop {
        let head = reader
            .head()
            .await
            .ok()
            .flatten()
            .ok_or(IoError("connection closed before the response"))?;
        let (response, framing) =
            parse_response(&head, is_head).map_err(|_| IoError("malformed HTTP response"))?;
        if !response.status().is_informational()
            || response.status() == StatusCode::SWITCHING_PROTOCOLS
        {
            break (response, framing);
        }
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let ahead = std::mem::take(&mut reader.ahead);
        return Ok((response, Some(Io::with_ahead(std::rc::Rc::new(io), ahead))));
    }
    let (sender, body) = Body::channel();
    *response.body_mut() = body;
    let gone = sender.gone();
    executor.spawn(async move {
        // The connection is for this answer alone: when nobody wants the rest it is closed, however much
        // the server has still to say.
        let mut reading = std::pin::pin!(reader.body(framing, sender));
        let mut gone = std::pin::pin!(gone);
        poll_fn(|cx| match gone.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => reading.as_mut().poll(cx).map(|_| ()),
        })
        .await;
    });
    Ok((response, None))
}

fn parse_response(head: &[u8], is_head: bool) -> Result<(Response, Framing), BodyError> {
    let malformed = BodyError::Malformed("malformed HTTP response");
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err(malformed);
    }
    let status = parsed.code.unwrap_or_default();
    let mut builder = http::Response::builder().status(status);
    for header in parsed.headers.iter() {
        builder = builder.header(header.name, header.value);
    }
    let response = builder.body(Body::empty()).map_err(|_| malformed)?;
    let framing = match Framing::of(response.headers())? {
        _ if is_head || matches!(status, 100..=199 | 204 | 304) => Framing::Empty,
        Some(framing) => framing,
        None => Framing::UntilEnd,
    };
    Ok((response, framing))
}
