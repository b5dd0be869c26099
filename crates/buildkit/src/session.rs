//! A client's session: the connection in which the daemon is the one who asks.

use std::collections::BTreeSet;

use serve::h2::{Connection, Fields};

use crate::grpc::{Call, Status, code};
use crate::wire::{Message, fields};

/// One client that can be asked.
pub struct Session {
    /// Its identity, chosen by the client.
    pub id: String,
    /// Names what the client's directories are, over builds.
    pub shared_key: String,
    /// What it answers, as `/package.service/method` in lower case.
    methods: BTreeSet<String>,
    connection: Connection,
}

impl Session {
    /// A session over `connection`, of which the daemon has the client's role.
    pub fn new<'a>(
        id: String,
        shared_key: String,
        methods: impl Iterator<Item = &'a str>,
        connection: Connection,
    ) -> Session {
        Session {
            id,
            shared_key,
            methods: methods.map(str::to_ascii_lowercase).collect(),
            connection,
        }
    }

    /// True when the client answers to a method.
    #[must_use]
    pub fn supports(&self, method: &str) -> bool {
        self.methods.contains(&method.to_ascii_lowercase())
    }

    /// Begins a call.
    pub fn call(&self, method: &str, metadata: &Fields) -> Result<Call, Status> {
        Call::open(&self.connection, method, metadata)
    }

    /// Calls a method that takes one message and gives one.
    pub async fn ask(&self, method: &str, request: &Message) -> Result<Vec<u8>, Status> {
        let mut call = self.call(method, &Fields::new())?;
        call.send(&request.0).await?;
        call.half_close().await?;
        let answer = call.receive().await?.unwrap_or_default();
        call.receive().await?;
        Ok(answer)
    }

    /// The value of a secret.
    pub async fn secret(&self, id: &str) -> Result<Vec<u8>, Status> {
        const METHOD: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        let missing = || Status::new(code::NOT_FOUND, format!("secret {id}: not found"));
        if !self.supports(METHOD) {
            return Err(missing());
        }
        let mut request = Message::new();
        request.text(1, id);
        let answer = match self.ask(METHOD, &request).await {
            Err(status) if status.code == code::NOT_FOUND => return Err(missing()),
            other => other?,
        };
        let data = fields(&answer)
            .map_while(Result::ok)
            .find(|field| field.0 == 1);
        Ok(data
            .map(|(_, data)| data.bytes().to_vec())
            .unwrap_or_default())
    }

    /// User and password for a registry; nothing when the client has none.
    pub async fn credentials(&self, host: &str) -> Result<Option<(String, String)>, Status> {
        const METHOD: &str = "/moby.filesync.v1.Auth/Credentials";
        if !self.supports(METHOD) {
            return Ok(None);
        }
        let mut request = Message::new();
        request.text(1, host);
        let answer = self.ask(METHOD, &request).await?;
        let (mut user, mut password) = (String::new(), String::new());
        for field in fields(&answer).map_while(Result::ok) {
            match field {
                (1, value) => user = value.text(),
                (2, value) => password = value.text(),
                _ => {}
            }
        }
        Ok(Some((user, password))
            .filter(|(user, password)| !user.is_empty() || !password.is_empty()))
    }

    /// True once the client has gone.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.connection.is_over()
    }

    /// Completes when the client has gone.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    /// Ends the session.
    pub fn close(&self) {
        self.connection.close();
    }
}
