//! The page's looks at a machine's Docker, and images on their way: names of one side in those of the other.

use drydock::docker::{self, Transferred};
use drydock::protocol::FromWorker;
use drydock::worker::TransferStep;
use playground::transfer::TransferEvent;
use playground::views;

/// What is looked at, as crate `playground` names it.
pub fn to_look(look: docker::Look) -> views::Look {
    let view = match look.view {
        docker::View::Containers => views::View::Containers,
        docker::View::Images => views::View::Images,
        docker::View::Networks => views::View::Networks,
        docker::View::Volumes => views::View::Volumes,
        docker::View::Events => views::View::Events,
    };
    let container = look.container;
    views::Look { view, container }
}

/// A document for the page.
pub fn told(document: views::Document) -> FromWorker {
    let part = match document.part {
        views::Part::Containers => docker::Part::Containers,
        views::Part::Details => docker::Part::Details,
        views::Part::Stats => docker::Part::Stats,
        views::Part::Images => docker::Part::Images,
        views::Part::Networks => docker::Part::Networks,
        views::Part::Volumes => docker::Part::Volumes,
        views::Part::Events => docker::Part::Events,
    };
    FromWorker::Docker {
        name: document.machine,
        part,
        bytes: document.text.into_bytes(),
    }
}

/// What becomes of transfers: some of it is the loader's to do, some is told to the page.
#[derive(Default)]
pub struct Moves(Vec<TransferStep>);

impl Moves {
    /// What the loader has to do.
    pub fn take_steps(&mut self) -> Vec<TransferStep> {
        std::mem::take(&mut self.0)
    }

    /// Takes an event; what the page is told of it.
    pub fn hear(&mut self, event: TransferEvent) -> Option<FromWorker> {
        let (id, state) = match event {
            TransferEvent::Wanted { id, done_bytes } => {
                self.0.push(TransferStep::Wanted { id });
                (id, Transferred::Moved { done_bytes })
            }
            TransferEvent::Piece {
                id,
                bytes,
                done_bytes,
            } => {
                self.0.push(TransferStep::Piece { id, bytes });
                (id, Transferred::Moved { done_bytes })
            }
            TransferEvent::Layer { id, layer, bytes } => {
                let (done_bytes, total_bytes) = bytes;
                let state = Transferred::Layer {
                    layer,
                    done_bytes,
                    total_bytes,
                };
                (id, state)
            }
            TransferEvent::Ended { id, outcome } => {
                let well = outcome.is_ok();
                self.0.push(TransferStep::Over { id, well });
                let state = match outcome {
                    Ok(said) => Transferred::Done { said },
                    Err(text) => Transferred::Failed { text },
                };
                (id, state)
            }
        };
        Some(FromWorker::Transfer { id, state })
    }
}
