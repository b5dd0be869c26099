//! What the page sees of a machine's Docker, and images on their way.

use drydock::docker::Transferred;
use drydock::protocol::FromWorker;
use drydock::worker::TransferStep;
use playground::transfer::TransferEvent;
use playground::views;

/// A document for the page.
pub fn told(document: views::Document) -> FromWorker {
    FromWorker::Docker {
        name: document.machine,
        part: document.part,
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
