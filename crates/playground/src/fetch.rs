//! Downloads: requests that the owner of the playground carries out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use crate::calls::Calls;

/// A download to carry out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchRequest {
    /// Names the answer.
    pub id: u32,
    /// Path of a static file, relative to the playground's base, such as `v2/blobs/sha256/…`.
    pub path: String,
    /// First and last byte, as in HTTP's `Range`.
    pub range: Option<(u64, u64)>,
    /// The path names its content: it may be kept for ever.
    pub immutable: bool,
    /// What is being downloaded, for a progress bar.
    pub label: String,
}

/// What came of a download.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// HTTP status: 200, 206 (a part), 404, …
    pub status: u16,
    /// The body.
    pub body: Bytes,
}

type Answer = Result<Fetched, String>;

/// Bytes of whole files that are kept because their server knows no ranges.
const WHOLE_BYTES_MAX: usize = 192 << 20;

#[derive(Default)]
struct Inner {
    /// Files whose server sent the whole when asked for a part, the newest last.
    wholes: RefCell<VecDeque<(String, Bytes)>>,
    calls: Calls<FetchRequest, Answer>,
}

/// Where downloads are asked for. Clones share it.
#[derive(Clone, Default)]
pub struct Fetcher(Rc<Inner>);

impl Fetcher {
    /// A fetcher without requests.
    #[must_use]
    pub fn new() -> Fetcher {
        Fetcher::default()
    }

    /// Fetches a file or a part of it. From a server that knows no ranges and sends the whole, the whole
    /// is kept and further parts come from it.
    pub async fn get(
        &self,
        path: &str,
        range: Option<(u64, u64)>,
        immutable: bool,
        label: &str,
    ) -> Answer {
        if let Some(range) = range
            && let Some(whole) = self.whole(path)
        {
            return Ok(cut(&whole, range));
        }
        let make = |id| FetchRequest {
            id,
            path: path.to_string(),
            range,
            immutable,
            label: label.to_string(),
        };
        let fetched = self.0.calls.ask(make).await?;
        match range {
            Some(range) if fetched.status == 200 => {
                if immutable {
                    self.keep_whole(path, &fetched.body);
                }
                Ok(cut(&fetched.body, range))
            }
            _ => Ok(fetched),
        }
    }

    fn whole(&self, path: &str) -> Option<Bytes> {
        let wholes = self.0.wholes.borrow();
        let (_, bytes) = wholes.iter().find(|(known, _)| known == path)?;
        Some(bytes.clone())
    }

    fn keep_whole(&self, path: &str, bytes: &Bytes) {
        let mut wholes = self.0.wholes.borrow_mut();
        wholes.retain(|(known, _)| known != path);
        wholes.push_back((path.to_string(), bytes.clone()));
        while wholes.len() > 1
            && wholes.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > WHOLE_BYTES_MAX
        {
            wholes.pop_front();
        }
    }

    /// Takes the requests that nobody has begun.
    #[must_use]
    pub fn take_requests(&self) -> Vec<FetchRequest> {
        self.0.calls.take()
    }

    /// Gives the answer to a request; `Err` is why there is none. An answer nobody waits for any more
    /// is dropped.
    pub fn answer(&self, id: u32, answer: Answer) {
        self.0.calls.answer(id, answer);
    }
}

/// A part of a whole file, as a server that knows ranges answers (RFC 9110 §14).
fn cut(whole: &Bytes, (first, last): (u64, u64)) -> Fetched {
    let length = whole.len() as u64;
    if first >= length {
        return Fetched {
            status: 416,
            body: Bytes::new(),
        };
    }
    let end = last.saturating_add(1).min(length);
    Fetched {
        status: 206,
        body: whole.slice(first as usize..end.max(first) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::Executor;

    #[test]
    fn answers_find_their_request_and_ranges_are_cut_from_whole_files() {
        let (executor, fetcher) = (Executor::new(), Fetcher::new());
        let get = |path: &'static str, range| {
            let fetcher = fetcher.clone();
            executor.spawn(async move { fetcher.get(path, range, true, "x").await })
        };
        let (whole, part, gone) = (get("a", None), get("b", Some((2, 3))), get("c", None));
        executor.run_until_stalled();
        let requests = fetcher.take_requests();
        assert_eq!(
            requests
                .iter()
                .map(|request| request.path.as_str())
                .collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        let body = Bytes::from_static(b"abcdef");
        fetcher.answer(
            requests[1].id,
            Ok(Fetched {
                status: 200,
                body: body.clone(),
            }),
        );
        fetcher.answer(
            requests[0].id,
            Ok(Fetched {
                status: 200,
                body: body.clone(),
            }),
        );
        fetcher.answer(requests[2].id, Err("offline".into()));
        fetcher.answer(99, Err("nobody asked".into()));
        executor.run_until_stalled();
        assert_eq!(whole.take(), Some(Ok(Fetched { status: 200, body })));
        assert_eq!(
            part.take(),
            Some(Ok(Fetched {
                status: 206,
                body: Bytes::from_static(b"cd")
            }))
        );
        assert_eq!(gone.take(), Some(Err("offline".into())));
        assert!(fetcher.0.calls.is_empty());
        // The server that sent the whole is not asked again.
        let rest = get("b", Some((4, 100)));
        let behind = get("b", Some((6, 7)));
        executor.run_until_stalled();
        assert!(fetcher.take_requests().is_empty());
        let part = |status, body| {
            Some(Ok(Fetched {
                status,
                body: Bytes::from_static(body),
            }))
        };
        assert_eq!(rest.take(), part(206, b"ef"));
        assert_eq!(behind.take(), part(416, b""));
    }

    #[test]
    fn a_dropped_download_is_not_begun() {
        let (executor, fetcher) = (Executor::new(), Fetcher::new());
        let inner = fetcher.clone();
        let task = executor.spawn(async move { inner.get("a", None, false, "x").await });
        executor.run_until_stalled();
        task.abort();
        assert!(fetcher.take_requests().is_empty());
    }
}
