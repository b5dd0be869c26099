//! Errors of the API: a class, which decides the status, and a message.

use std::fmt;

use serve::{Body, Response};

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// 304: it is so already. No body.
    NotModified,
    /// 400.
    InvalidParameter,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 500.
    System,
    /// 501.
    NotImplemented,
    /// 503.
    Unavailable,
}

impl Class {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Class::NotModified => 304,
            Class::InvalidParameter => 400,
            Class::Forbidden => 403,
            Class::NotFound => 404,
            Class::Conflict => 409,
            Class::System => 500,
            Class::NotImplemented => 501,
            Class::Unavailable => 503,
        }
    }
}

/// An error that goes to a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApiError {
    /// Its class.
    pub class: Class,
    /// What it says.
    pub message: String,
}

/// What a handler gives.
pub type Result<T> = std::result::Result<T, ApiError>;

macro_rules! constructors {
    ($($name:ident $class:ident;)*) => {
        impl ApiError {
            $(
                #[doc = concat!("An error of class [`Class::", stringify!($class), "`].")]
                #[must_use]
                pub fn $name(message: impl Into<String>) -> ApiError {
                    ApiError { class: Class::$class, message: message.into() }
                }
            )*
        }
    };
}

constructors! {
    invalid InvalidParameter;
    forbidden Forbidden;
    not_found NotFound;
    conflict Conflict;
    system System;
    not_implemented NotImplemented;
    unavailable Unavailable;
}

impl ApiError {
    /// The state asked for is there already.
    #[must_use]
    pub fn not_modified() -> ApiError {
        ApiError {
            class: Class::NotModified,
            message: String::new(),
        }
    }

    /// A route or a part of one that Drydock does not have.
    #[must_use]
    pub fn unsupported(what: impl fmt::Display) -> ApiError {
        ApiError::not_implemented(format!(
            "{what} is not supported by this version of Drydock"
        ))
    }

    /// The response that tells it.
    #[must_use]
    pub fn into_response(self) -> Response {
        if self.class == Class::NotModified {
            return crate::json::response(304, Body::empty(), None);
        }
        let body = serde_json::json!({ "message": self.message }).to_string() + "\n";
        crate::json::response(
            self.class.status(),
            Body::from(body),
            Some("application/json"),
        )
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
