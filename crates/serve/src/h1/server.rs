//! The server side of a connection.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, EXPECT, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderValue, Method, StatusCode, Version};

use super::frame::{Framing, Reader, emit_headers, write_body};
use super::{HEAD_BYTES_MAX, HEADERS_MAX};
use crate::upgrade;
use crate::{Body, BodyError, Io, IoError, IoStream, Request, Response, Service};

/// Serves requests until the peer goes away, asks to close, breaks the framing or is upgraded.
/// `now` gives seconds since 1970 for the `Date` field.
pub async fn serve_connection(
    io: Io,
    service: Rc<dyn Service>,
    now: impl Fn() -> u64,
) -> Result<(), IoError> {
    let mut reader = Reader::new(io.clone());
    loop {
        let head = match reader.head().await {
            Ok(Some(head)) => head,
            Ok(None) | Err(BodyError::Aborted) => return Ok(()),
            Err(error) => return refuse(&io, &error).await,
        };
        let (mut request, framing) = match parse_request(&head) {
            Ok(parsed) => parsed,
            Err(error) => return refuse(&io, &error).await,
        };
        let wants_upgrade = request.headers().contains_key(UPGRADE);
        if request
            .headers()
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
        {
            io.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let keep_alive = keeps_alive(&request);
        let is_head = request.method() == Method::HEAD;
        let (sender, body) = match framing {
            Framing::Empty => (None, Body::empty()),
            _ => {
                let (sender, body) = Body::channel();
                (Some(sender), body)
            }
        };
        *request.body_mut() = body;
        // Docker hijacks connections also without an Upgrade field (old clients), so every POST may.
        let mut fulfil = (wants_upgrade || request.method() == Method::POST)
            .then(|| upgrade::attach(&mut request));
        // The body is read while the handler runs, and afterwards the peer is watched: when it goes
        // away the handler is dropped (a `logs --follow` that nobody reads any more).
        let received = Cell::new(false);
        let receive = async {
            let outcome = match sender {
                Some(sender) => reader.body(framing, sender).await,
                None => Ok(()),
            };
            received.set(true);
            outcome?;
            reader.watch().await
        };
        let respond = async {
            let response = service.call(request).await;
            let hijacked = response.status() == StatusCode::SWITCHING_PROTOCOLS
                || response.extensions().get::<Hijack>().is_some();
            write_response(&io, response, is_head, hijacked, keep_alive, now())
                .await
                .map(|()| hijacked)
        };
        let Some(hijacked) = exchange(receive, respond, &received).await else {
            return Ok(());
        };
        if hijacked? {
            if let Some(fulfil) = fulfil.take() {
                let ahead = std::mem::take(&mut reader.ahead);
                fulfil.fulfil(Io::with_ahead(Rc::new(io), ahead));
            }
            return Ok(());
        }
        if !keep_alive {
            io.shutdown_write();
            return Ok(());
        }
    }
}

/// Runs both sides of an exchange. `None`: the peer went away or broke the framing before the response
/// was complete, or before its body was.
async fn exchange(
    receive: impl Future<Output = Result<(), BodyError>>,
    respond: impl Future<Output = Result<bool, IoError>>,
    received: &Cell<bool>,
) -> Option<Result<bool, IoError>> {
    let (mut receive, mut respond) = (pin!(receive), pin!(respond));
    let mut responded = None;
    std::future::poll_fn(move |cx| {
        if responded.is_none()
            && let Poll::Ready(outcome) = respond.as_mut().poll(cx)
        {
            responded = Some(outcome);
        }
        let hijacked = matches!(responded, Some(Ok(true) | Err(_)));
        if hijacked || (responded.is_some() && received.get()) {
            return Poll::Ready(responded.take());
        }
        // Who answers early still reads the rest of the request: the next one follows it.
        match receive.as_mut().poll(cx) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending if responded.is_some() && received.get() => Poll::Ready(responded.take()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Put into the extensions of a response with a status other than 101 whose connection becomes a
/// byte stream all the same (Docker's answer 200 to clients that sent no `Upgrade`).
#[derive(Clone, Copy, Debug)]
pub struct Hijack;

fn keeps_alive(request: &Request) -> bool {
    let connection = request
        .headers()
        .get(CONNECTION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let connection = connection.to_ascii_lowercase();
    match request.version() {
        Version::HTTP_10 => connection.contains("keep-alive"),
        _ => !connection.contains("close"),
    }
}

fn parse_request(head: &[u8]) -> Result<(Request, Framing), BodyError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let malformed = BodyError::Malformed("malformed HTTP request");
    if head.len() > HEAD_BYTES_MAX || !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err(malformed);
    }
    let version = if parsed.version == Some(0) {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let mut builder = http::Request::builder()
        .method(parsed.method.unwrap_or_default())
        .uri(parsed.path.unwrap_or_default())
        .version(version);
    for header in parsed.headers.iter() {
        builder = builder.header(header.name, header.value);
    }
    let request = builder.body(Body::empty()).map_err(|_| malformed)?;
    let framing = Framing::of(request.headers())?.unwrap_or(Framing::Empty);
    Ok((request, framing))
}

async fn refuse(io: &Io, error: &BodyError) -> Result<(), IoError> {
    let text = format!("400 Bad Request: {error}");
    let head = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    io.write_all(head.as_bytes()).await?;
    io.shutdown_write();
    Ok(())
}

async fn write_response(
    io: &Io,
    mut response: Response,
    is_head: bool,
    hijacked: bool,
    keep_alive: bool,
    now: u64,
) -> Result<(), IoError> {
    let status = response.status();
    let no_body = is_head || status.is_informational() || matches!(status.as_u16(), 204 | 304);
    let body = std::mem::replace(response.body_mut(), Body::empty());
    let headers = response.headers_mut();
    if let Ok(date) = HeaderValue::from_str(&http_date(now)) {
        headers.insert(DATE, date);
    }
    let mut chunked = false;
    let told = no_body && headers.contains_key(CONTENT_LENGTH);
    if !hijacked && !told {
        headers.remove(TRANSFER_ENCODING);
        match body.len_hint() {
            Some(length) if !matches!(status.as_u16(), 204 | 304) => {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            Some(_) => {}
            None if no_body => {}
            None => {
                chunked = true;
                headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
        }
    }
    if !hijacked && !keep_alive {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let reason = match status.as_u16() {
        // Docker's own word for its hijack.
        101 => "UPGRADED",
        _ => status.canonical_reason().unwrap_or(""),
    };
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    emit_headers(&mut head, response.headers());
    io.write_all(&head).await?;
    if no_body || hijacked {
        return Ok(());
    }
    write_body(io, body, chunked).await
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(seconds: u64) -> String {
    let days = seconds / 86400;
    let (year, month, day) = civil(days as i64);
    let names = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        names[(days % 7) as usize],
        months[month as usize - 1],
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Year, month and day of a day since 1970-01-01 (proleptic Gregorian calendar).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_imf_fixdates() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
