//! What a daemon is.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::{Request, Response};

/// A future that stays on its thread.
pub type LocalBoxFuture<T> = Pin<Box<dyn Future<Output = T>>>;

/// Answers requests. A failure is a response too.
pub trait Service {
    /// Answers one request.
    fn call(&self, request: Request) -> LocalBoxFuture<Response>;
}

impl<S: Service + ?Sized> Service for Rc<S> {
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        (**self).call(request)
    }
}

struct ServiceFn<F>(F);

impl<F, R> Service for ServiceFn<F>
where
    F: Fn(Request) -> R,
    R: Future<Output = Response> + 'static,
{
    fn call(&self, request: Request) -> LocalBoxFuture<Response> {
        Box::pin((self.0)(request))
    }
}

/// A service from a function.
pub fn service_fn<F, R>(function: F) -> Rc<dyn Service>
where
    F: Fn(Request) -> R + 'static,
    R: Future<Output = Response> + 'static,
{
    Rc::new(ServiceFn(function))
}
