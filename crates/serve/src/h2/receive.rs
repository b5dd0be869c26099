//! What comes: bytes to frames, frames to streams.

use super::connection::{Role, State};
use super::frame::{
    Code, HEAD_BYTES, Head, PAYLOAD_BYTES_MAX, PREFACE, content, flag, kind, number, setting,
};
use super::hpack::Decoder;

/// Octets a header block may have on the wire.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
/// A window's largest size (§6.9.1).
const WINDOW_MAX: i64 = 0x7fff_ffff;

/// A header block that goes on in the next frame.
struct Block {
    stream: u32,
    ends_stream: bool,
    bytes: Vec<u8>,
}

pub(super) struct Receiver {
    decoder: Decoder,
    /// Bytes of a frame that is not complete.
    pending: Vec<u8>,
    /// Octets of the client's preface still to come.
    preface: &'static [u8],
    /// The first frame has to be SETTINGS.
    first: bool,
    block: Option<Block>,
}

impl Receiver {
    pub(super) fn new(role: Role) -> Receiver {
        Receiver {
            decoder: Decoder::new(),
            pending: Vec::new(),
            preface: if role == Role::Server { PREFACE } else { b"" },
            first: true,
            block: None,
        }
    }

    /// Takes bytes in; an error ends the connection.
    pub(super) fn feed(&mut self, mut bytes: &[u8], state: &mut State) -> Result<(), Code> {
        if !self.preface.is_empty() {
            let count = self.preface.len().min(bytes.len());
            if bytes[..count] != self.preface[..count] {
                return Err(Code::Protocol);
            }
            (self.preface, bytes) = (&self.preface[count..], &bytes[count..]);
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.extend_from_slice(bytes);
        let mut rest = &pending[..];
        while let Some(head) = Head::parse(rest) {
            if head.length > PAYLOAD_BYTES_MAX {
                return Err(Code::FrameSize);
            }
            let Some(payload) = rest[HEAD_BYTES..].get(..head.length) else {
                break;
            };
            rest = &rest[HEAD_BYTES + head.length..];
            self.frame(head, payload, state)?;
        }
        self.pending = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, head: Head, payload: &[u8], state: &mut State) -> Result<(), Code> {
        if std::mem::replace(&mut self.first, false) && head.kind != kind::SETTINGS {
            return Err(Code::Protocol);
        }
        // Nothing comes between the pieces of a header block.
        let continues = head.kind == kind::CONTINUATION;
        if self.block.as_ref().map(|block| block.stream) != continues.then_some(head.stream) {
            return Err(Code::Protocol);
        }
        let on_stream = head.stream != 0;
        match head.kind {
            kind::DATA if on_stream => data(head, payload, state),
            kind::HEADERS if on_stream => {
                let bytes = content(head, payload).ok_or(Code::Protocol)?.to_vec();
                let block = Block {
                    stream: head.stream,
                    ends_stream: head.has(flag::END_STREAM),
                    bytes,
                };
                self.block_piece(block, head, state)
            }
            kind::CONTINUATION => {
                let mut block = self.block.take().ok_or(Code::Protocol)?;
                block.bytes.extend_from_slice(payload);
                if block.bytes.len() > BLOCK_BYTES_MAX {
                    return Err(Code::EnhanceYourCalm);
                }
                self.block_piece(block, head, state)
            }
            kind::PRIORITY if on_stream => match payload.len() {
                5 => Ok(()),
                _ => Err(Code::FrameSize),
            },
            kind::RST_STREAM if on_stream => reset(head, payload, state),
            kind::SETTINGS if !on_stream => settings(head, payload, state),
            kind::PING if !on_stream => {
                if payload.len() != 8 {
                    return Err(Code::FrameSize);
                }
                if !head.has(flag::ACK) {
                    state.emit(kind::PING, flag::ACK, 0, payload);
                }
                Ok(())
            }
            kind::GOAWAY if !on_stream => {
                state.going_away = true;
                Ok(())
            }
            kind::WINDOW_UPDATE => window_update(head, payload, state),
            kind::DATA..=kind::CONTINUATION => Err(Code::Protocol),
            // Unknown frames are extensions (§5.5).
            _ => Ok(()),
        }
    }

    fn block_piece(&mut self, block: Block, head: Head, state: &mut State) -> Result<(), Code> {
        if !head.has(flag::END_HEADERS) {
            self.block = Some(block);
            return Ok(());
        }
        let fields = self.decoder.decode(&block.bytes).ok_or(Code::Compression)?;
        let id = block.stream;
        if state.is_idle(id) {
            // Only clients begin streams here, with odd numbers.
            if state.role == Role::Client || id.is_multiple_of(2) {
                return Err(Code::Protocol);
            }
            state.peer_id = id;
            if state.streams.len() >= state.limits.streams {
                state.emit_reset(id, Code::RefusedStream);
                return Ok(());
            }
            state.insert(id);
            state.incoming.push_back(id);
        }
        // Of a stream that is gone here something may still have been on its way.
        let Some(slot) = state.streams.get_mut(&id) else {
            return Ok(());
        };
        if slot.received_all {
            return Err(Code::StreamClosed);
        }
        let informational =
            |(name, value): &(String, String)| name == ":status" && value.starts_with('1');
        match &slot.fields {
            None if state.role == Role::Client && fields.iter().any(informational) => {}
            None => slot.fields = Some(fields),
            Some(_) if block.ends_stream => slot.trailers = Some(fields),
            Some(_) => return Err(Code::Protocol),
        }
        slot.received_all = block.ends_stream;
        Ok(())
    }
}

fn data(head: Head, payload: &[u8], state: &mut State) -> Result<(), Code> {
    if state.is_idle(head.stream) {
        return Err(Code::Protocol);
    }
    let length = payload.len();
    state.receive_window -= length as i64;
    if state.receive_window < 0 {
        return Err(Code::FlowControl);
    }
    let bytes = content(head, payload).ok_or(Code::Protocol)?;
    let mut unread = length;
    if let Some(slot) = state
        .streams
        .get_mut(&head.stream)
        .filter(|slot| slot.reset.is_none())
    {
        if slot.received_all {
            return Err(Code::StreamClosed);
        }
        if slot.fields.is_none() {
            return Err(Code::Protocol);
        }
        slot.receive_window -= length as i64;
        if slot.receive_window < 0 {
            return Err(Code::FlowControl);
        }
        slot.received_all = head.has(flag::END_STREAM);
        match slot.data.back_mut() {
            // Pieces of an octet each do not become allocations of an octet each.
            Some(last) if last.len() + bytes.len() <= PAYLOAD_BYTES_MAX => {
                last.extend_from_slice(bytes)
            }
            _ if bytes.is_empty() => {}
            _ => slot.data.push_back(bytes.to_vec()),
        }
        unread -= bytes.len();
    }
    // Padding, and what nobody waits for, is read as it comes.
    state.take(head.stream, unread);
    Ok(())
}

fn reset(head: Head, payload: &[u8], state: &mut State) -> Result<(), Code> {
    if payload.len() != 4 {
        return Err(Code::FrameSize);
    }
    if state.is_idle(head.stream) {
        return Err(Code::Protocol);
    }
    if let Some(slot) = state.streams.get_mut(&head.stream) {
        slot.sent_all = true;
        // Who has answered in full may say that it needs nothing more (§8.1).
        if !slot.received_all || number(payload) != Code::NoError as u32 {
            slot.reset = Some(number(payload));
            slot.received_all = true;
        }
    }
    state.resets += 1;
    match state.resets > state.limits.resets {
        true => Err(Code::EnhanceYourCalm),
        false => Ok(()),
    }
}

fn settings(head: Head, payload: &[u8], state: &mut State) -> Result<(), Code> {
    if head.has(flag::ACK) {
        return match payload.is_empty() {
            true => Ok(()),
            false => Err(Code::FrameSize),
        };
    }
    if !payload.len().is_multiple_of(6) {
        return Err(Code::FrameSize);
    }
    for entry in payload.chunks_exact(6) {
        let value = number(&entry[2..]);
        match u16::from_be_bytes([entry[0], entry[1]]) {
            setting::INITIAL_WINDOW_SIZE => {
                let value = i64::from(value);
                if value > WINDOW_MAX {
                    return Err(Code::FlowControl);
                }
                let more = value - state.peer_stream_window;
                state.peer_stream_window = value;
                for slot in state.streams.values_mut() {
                    slot.send_window += more;
                    if slot.send_window > WINDOW_MAX {
                        return Err(Code::FlowControl);
                    }
                }
            }
            setting::MAX_FRAME_SIZE => match value {
                // Larger frames than those everybody takes are not sent.
                16_384..=16_777_215 => {}
                _ => return Err(Code::Protocol),
            },
            setting::ENABLE_PUSH if value > 1 => return Err(Code::Protocol),
            _ => {}
        }
    }
    state.emit(kind::SETTINGS, flag::ACK, 0, &[]);
    Ok(())
}

fn window_update(head: Head, payload: &[u8], state: &mut State) -> Result<(), Code> {
    if payload.len() != 4 {
        return Err(Code::FrameSize);
    }
    let more = i64::from(number(payload) & 0x7fff_ffff);
    if more == 0 {
        return Err(Code::Protocol);
    }
    if head.stream == 0 {
        state.send_window += more;
        return match state.send_window > WINDOW_MAX {
            true => Err(Code::FlowControl),
            false => Ok(()),
        };
    }
    if state.is_idle(head.stream) {
        return Err(Code::Protocol);
    }
    if let Some(slot) = state.streams.get_mut(&head.stream) {
        slot.send_window += more;
        if slot.send_window > WINDOW_MAX {
            slot.reset = Some(Code::FlowControl as u32);
            state.emit_reset(head.stream, Code::FlowControl);
        }
    }
    Ok(())
}
