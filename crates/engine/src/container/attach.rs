//! `POST /containers/{id}/attach`: the streams of a container on the client's connection; and
//! `GET /containers/{id}/attach/ws`: the same in a WebSocket's messages.

use engine_api::container::attach::Attach;
use engine_api::container::logs::Logs;
use engine_api::error::{ApiError, Result};
use engine_api::json;
use serve::websocket::WebSocket;
use serve::{Body, Response};

use crate::Engine;
use crate::dispatch::Context;
use crate::logs;
use crate::streams::Connection;

impl Engine {
    /// The operation. Refusals of a stream are text, and end the connection.
    pub(crate) async fn container_attach(
        &self,
        context: Context,
        websocket: bool,
    ) -> Result<Response> {
        match self.try_attach(context, websocket).await {
            Err(error) if !websocket => Ok(json::response(
                error.class.status(),
                Body::from(error.message + "\r\n"),
                Some("application/vnd.docker.raw-stream"),
            )),
            outcome => outcome,
        }
    }

    async fn try_attach(&self, mut context: Context, websocket: bool) -> Result<Response> {
        let attach = Attach::parse(&context.query)?;
        let container = self.find_container(context.param(0))?;
        let typed = context.param(0).to_string();
        {
            let state = &container.data.borrow().state;
            if state.paused {
                return Err(ApiError::conflict(format!(
                    "container {typed} is paused, unpause the container before attach"
                )));
            }
            if state.restarting {
                return Err(ApiError::conflict(format!(
                    "container {typed} is restarting, wait until the container is running"
                )));
            }
        }
        let config = container.data.borrow().config.clone();
        let (response, upgraded) = match websocket {
            true => context.websocket()?,
            false => context.hijack(config.tty)?,
        };
        // Before the client hears anything: it starts the container when it does.
        let attached = attach
            .stream
            .then(|| container.streams.attach(attach.stdout, attach.stderr));
        let engine = self.rc();
        self.container_event(&container, "attach", &[]);
        self.os.executor().spawn(async move {
            let Ok(io) = upgraded.stream().await else {
                return;
            };
            let connection = Connection {
                io: match websocket {
                    true => WebSocket::stream(io),
                    false => io,
                },
                // Messages have no channels.
                tty: config.tty || websocket,
                stdin: attach.stdin && config.open_stdin,
                close_stdin: config.stdin_once && !config.tty,
                detach_keys: if config.tty {
                    attach.detach_keys.clone()
                } else {
                    Vec::new()
                },
            };
            if attach.logs {
                let wanted = Logs {
                    stdout: attach.stdout,
                    stderr: attach.stderr,
                    follow: false,
                    timestamps: false,
                    details: false,
                    since: None,
                    until: None,
                    tail: None,
                };
                for entry in logs::select(container.log.reader().read(), &wanted) {
                    let (channel, text) = logs::render(&entry, &wanted);
                    if connection.write(channel, &text).await.is_err() {
                        return;
                    }
                }
            }
            if let Some(attached) = attached
                && connection.carry(&container.streams, &attached).await
            {
                engine.container_event(&container, "detach", &[]);
            }
        });
        Ok(response)
    }
}
