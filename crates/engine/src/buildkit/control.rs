//! `moby.buildkit.v1.Control`: builds, their progress, the build cache, who does the work.

use std::collections::BTreeMap;
use std::rc::Rc;

use buildkit::messages::{self, FrontendRequest, PruneRequest, SolveRequest, UsageRecord};
use buildkit::wire::Message;
use buildkit::{Call, Status};
use futures_util::future::{Either, select};

use super::unknown_method;
use crate::Engine;

/// The version of BuildKit whose interface this is.
const VERSION: &str = "v0.13.2+drydock";

impl Engine {
    /// Answers a call of the service.
    pub(super) async fn control(&self, call: &mut Call) -> Result<(), Status> {
        let method = call.path.rsplit('/').next().unwrap_or_default().to_string();
        match method.as_str() {
            "ListWorkers" => {
                let mut answer = Message::new();
                answer.message(1, &self.worker());
                call.send(&answer.0).await
            }
            "Info" => {
                let mut answer = Message::new();
                answer.message(1, &buildkit_version());
                call.send(&answer.0).await
            }
            "Solve" => {
                let request = SolveRequest::parse(&call.request().await?)?;
                let answer = {
                    let solve = std::pin::pin!(self.solve_request(request));
                    match select(solve, std::pin::pin!(call.given_up())).await {
                        Either::Left((answer, _)) => answer?,
                        Either::Right((status, _)) => return Err(status),
                    }
                };
                call.send(&messages::solve_response(&answer).0).await
            }
            "Status" => self.follow(call).await,
            "DiskUsage" => {
                let mut answer = Message::new();
                for record in self.usage() {
                    answer.message(1, &record.emit());
                }
                call.send(&answer.0).await
            }
            "Prune" => {
                let request = PruneRequest::parse(&call.request().await?)?;
                let known = self.usage();
                let (removed, bytes) = self.prune_build_cache(request.all);
                self.prune_event("builder", bytes);
                for record in known.iter().filter(|record| removed.contains(&record.id)) {
                    call.send(&record.emit().0).await?;
                }
                Ok(())
            }
            "ListenBuildHistory" => {
                // No record is kept of builds; who wants to hear of new ones waits.
                let request = call.request().await?;
                let early_exit = buildkit::wire::fields(&request)
                    .any(|field| matches!(field, Ok((3, value)) if value.number() != 0));
                match early_exit {
                    true => Ok(()),
                    false => Err(call.given_up().await),
                }
            }
            "UpdateBuildHistory" => call.send(&[]).await,
            _ => Err(unknown_method(call)),
        }
    }

    /// Who does the work: this daemon.
    pub(super) fn worker(&self) -> Message {
        let labels = [(
            "org.mobyproject.buildkit.worker.moby.host-gateway-ip".to_string(),
            "172.17.0.1".to_string(),
        )];
        messages::worker_record(
            &self.id,
            oci::Platform::host().architecture.as_str(),
            &BTreeMap::from(labels),
            &buildkit_version(),
        )
    }

    /// The build cache.
    fn usage(&self) -> Vec<UsageRecord> {
        let entries = self.build_cache_entries().into_iter();
        let made = entries.map(|(key, entry, size, shared)| UsageRecord {
            id: key.hex()[..25].to_string(),
            size,
            created: entry.created,
            last_used: Some(entry.used),
            usage_count: entry.usage_count,
            description: entry.description,
            kind: "regular".to_string(),
            shared,
            ..UsageRecord::default()
        });
        let kept = self.kept_sources().into_iter();
        let kept = kept.map(|(id, description, kind, size, used)| UsageRecord {
            id,
            mutable: true,
            size,
            created: used,
            last_used: Some(used),
            usage_count: 1,
            description,
            kind: kind.to_string(),
            ..UsageRecord::default()
        });
        let mut records: Vec<UsageRecord> = made.chain(kept).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.size));
        records
    }

    /// Sends the story of a build, as long as it goes on.
    async fn follow(&self, call: &mut Call) -> Result<(), Status> {
        let reference = messages::first_text(&call.request().await?)?;
        let build = self.wait_for_build(&reference).await?;
        let mut told = 0;
        loop {
            let events = {
                let events = std::pin::pin!(build.events(told));
                match select(events, std::pin::pin!(call.given_up())).await {
                    Either::Left((Some(events), _)) => events,
                    Either::Left((None, _)) => return Ok(()),
                    Either::Right((status, _)) => return Err(status),
                }
            };
            told += events.len();
            call.send(&messages::status_response(&events).0).await?;
        }
    }

    /// Builds; gives what the exporter has to say.
    async fn solve_request(
        &self,
        request: SolveRequest,
    ) -> Result<BTreeMap<String, String>, Status> {
        if request.has_definition {
            return Err(Status::unknown(
                "solving an LLB definition is not supported: only Dockerfiles can be built here",
            ));
        }
        if let Some(refused) = request
            .entitlements
            .iter()
            .find(|name| *name != "network.host")
        {
            return Err(Status::unknown(format!(
                "granting entitlement {refused} is not allowed by build daemon configuration"
            )));
        }
        let running = self.begin_build(request)?;
        let build = &running.0;
        let wanted = match build.request.frontend.as_str() {
            "" => {
                let returned = build.returned().await;
                if let Some(error) = returned.error {
                    return Err(error);
                }
                // A client that wants nothing built only asks what can be done.
                let Some(reference) = returned.reference else {
                    return Ok(BTreeMap::new());
                };
                let unknown = || Status::unknown(format!("no such ref: {reference}"));
                build.result(&reference).ok_or_else(unknown)?
            }
            frontend => {
                check_frontend(frontend)?;
                FrontendRequest {
                    frontend: frontend.to_string(),
                    options: build.request.frontend_attrs.clone(),
                    ..FrontendRequest::default()
                }
            }
        };
        self.build_dockerfile(Rc::clone(build), wanted).await
    }
}

fn buildkit_version() -> Message {
    messages::version("github.com/moby/buildkit", VERSION, "")
}

/// The built-in reader of Dockerfiles is the only one; `gateway.v0` is how a `# syntax` line is asked for.
pub(super) fn check_frontend(name: &str) -> Result<(), Status> {
    match name {
        "dockerfile.v0" | "gateway.v0" => Ok(()),
        name => Err(Status::unknown(format!("failed to find frontend: {name}"))),
    }
}
