//! WebSocket frames (RFC 6455, 5.2) as far as a gateway needs them: following a byte stream from header to header
//! without buffering payloads, and writing a server's own frames.

/// Opcodes of RFC 6455, 11.8.
pub mod opcode {
    pub const BINARY: u8 = 0x2;
    pub const CLOSE: u8 = 0x8;
    pub const PING: u8 = 0x9;
    pub const PONG: u8 = 0xA;
}

/// The longest payload of a control frame (RFC 6455, 5.5).
pub const MAX_CONTROL: usize = 125;
/// Two bytes, eight of length, four of mask.
const MAX_HEADER: usize = 14;

/// A length with its highest bit set, which RFC 6455, 5.2 forbids: the stream cannot be followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a WebSocket frame with an impossible length")]
pub struct ImpossibleLength;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether this frame ends its message.
    pub fin: bool,
    pub opcode: u8,
    pub mask: Option<[u8; 4]>,
    pub length: u64,
}

impl Header {
    pub fn is_control(&self) -> bool {
        self.opcode & 0x8 != 0
    }
}

/// What of one frame lies in the bytes given.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    pub header: Header,
    pub payload: &'a [u8],
    /// Whether the frame is complete with this piece.
    pub ends: bool,
    /// Bytes taken from the front of the input, headers included.
    pub used: usize,
}

/// Follows one direction of a WebSocket connection.
#[derive(Debug, Default)]
pub struct Follower {
    head: [u8; MAX_HEADER],
    have: usize,
    /// The frame under way, and what is left of its payload.
    frame: Option<(Header, u64)>,
    message_open: bool,
}

impl Follower {
    /// Takes from the front of `bytes` what belongs to one frame. `None`: all of it, and the header is still incomplete.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<Piece<'a>>, ImpossibleLength> {
        let mut used = 0;
        let (header, left) = match self.frame {
            Some(frame) => frame,
            None => {
                while self.have < self.wanted() {
                    let Some(&byte) = bytes.get(used) else { return Ok(None) };
                    self.head[self.have] = byte;
                    self.have += 1;
                    used += 1;
                }
                let header = self.header()?;
                self.have = 0;
                if !header.is_control() {
                    self.message_open = !header.fin;
                }
                (header, header.length)
            }
        };
        let rest = &bytes[used..];
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
        let left = left - taken as u64;
        self.frame = (left > 0).then_some((header, left));
        Ok(Some(Piece { header, payload: &rest[..taken], ends: left == 0, used: used + taken }))
    }

    /// Between two frames, where a control frame may stand.
    pub fn between_frames(&self) -> bool {
        self.frame.is_none() && self.have == 0
    }

    /// Between two messages, where any frame may stand.
    pub fn between_messages(&self) -> bool {
        self.between_frames() && !self.message_open
    }

    /// How long the header is, as far as its first bytes tell.
    fn wanted(&self) -> usize {
        if self.have < 2 {
            return 2;
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + extended + mask
    }

    fn header(&self) -> Result<Header, ImpossibleLength> {
        let [first, second, rest @ ..] = self.head;
        let (length, mask_at) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2),
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = rest;
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8)
            }
            short => (u64::from(short), 0),
        };
        if length > i64::MAX as u64 {
            return Err(ImpossibleLength);
        }
        let mask = [rest[mask_at], rest[mask_at + 1], rest[mask_at + 2], rest[mask_at + 3]];
        Ok(Header { fin: first & 0x80 != 0, opcode: first & 0x0f, mask: (second & 0x80 != 0).then_some(mask), length })
    }
}

/// One whole frame of a server, unmasked as servers' are.
pub fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(0x80 | opcode);
    match payload.len() {
        short @ 0..=125 => frame.push(short as u8),
        middle @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(middle as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A close frame. Reasons are slugs of ours, far below the 123 bytes that fit.
pub fn close_frame(code: u16, reason: &'static str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.len().min(MAX_CONTROL - 2)]);
    server_frame(opcode::CLOSE, &payload)
}

/// Undoes a client's masking (RFC 6455, 5.3) of a whole payload.
pub fn unmask(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Frame {
        fin: bool,
        opcode: u8,
        mask: Option<[u8; 4]>,
        /// 0: shortest form; 1, 2: longer forms than needed, which a follower must survive.
        form: u8,
        length: usize,
    }

    impl Frame {
        fn bytes(&self) -> Vec<u8> {
            let mut bytes = vec![(u8::from(self.fin) << 7) | self.opcode];
            let masked = u8::from(self.mask.is_some()) << 7;
            if self.length > 0xffff || self.form == 2 {
                bytes.push(masked | 127);
                bytes.extend_from_slice(&(self.length as u64).to_be_bytes());
            } else if self.length > 125 || self.form == 1 {
                bytes.push(masked | 126);
                bytes.extend_from_slice(&(self.length as u16).to_be_bytes());
            } else {
                bytes.push(masked | self.length as u8);
            }
            bytes.extend(self.mask.iter().flatten());
            // Payload that looks like headers.
            bytes.extend(std::iter::repeat_n(0x82, self.length));
            bytes
        }
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let length = prop_oneof![0..4usize, 120..130usize, 0..2000usize, 65_530..65_540usize];
        (any::<bool>(), 0..16u8, any::<Option<[u8; 4]>>(), 0..3u8, length)
            .prop_map(|(fin, opcode, mask, form, length)| Frame { fin, opcode, mask, form, length })
    }

    /// The places where frames end, as a follower sees them that is given the bytes in these chunks.
    fn boundaries(bytes: &[u8], mut chunks: impl Iterator<Item = usize>) -> (Vec<usize>, Vec<Header>, Follower) {
        let (mut follower, mut at, mut ends, mut headers) = (Follower::default(), 0, Vec::new(), Vec::new());
        while at < bytes.len() {
            let upto = bytes.len().min(at + chunks.next().unwrap_or(usize::MAX / 2).max(1));
            while at < upto {
                match follower.next(&bytes[at..upto]).unwrap() {
                    Some(piece) => {
                        at += piece.used;
                        if piece.ends {
                            assert!(follower.between_frames());
                            ends.push(at);
                            headers.push(piece.header);
                        }
                    }
                    None => at = upto,
                }
            }
        }
        (ends, headers, follower)
    }

    proptest! {
        #[test]
        fn any_chunking_finds_the_same_boundaries(
            frames in proptest::collection::vec(frame(), 0..6),
            chunks in proptest::collection::vec(1..400usize, 0..50),
            cut in 0..14usize,
        ) {
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for frame in &frames {
                bytes.extend(frame.bytes());
                expected.push(bytes.len());
            }
            let (ends, headers, follower) = boundaries(&bytes, chunks.iter().copied());
            prop_assert_eq!(&ends, &expected);
            prop_assert!(follower.between_frames());
            for (header, frame) in headers.iter().zip(&frames) {
                prop_assert_eq!((header.fin, header.opcode, header.mask, header.length),
                    (frame.fin, frame.opcode, frame.mask, frame.length as u64));
            }
            let open = frames.iter().rfind(|frame| frame.opcode < 8).is_some_and(|frame| !frame.fin);
            prop_assert_eq!(follower.between_messages(), !open);
            if let Some(last) = frames.last() {
                let cut = cut.min(last.bytes().len() - 1);
                let start = bytes.len() - last.bytes().len();
                let (ends, _, follower) = boundaries(&bytes[..start + cut], chunks.iter().copied());
                prop_assert_eq!(&ends[..], &expected[..expected.len() - 1]);
                prop_assert_eq!(follower.between_frames(), cut == 0);
            }
        }

        #[test]
        fn no_bytes_make_the_follower_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (mut follower, mut at) = (Follower::default(), 0);
            while let Ok(Some(piece)) = follower.next(&bytes[at..]) {
                at += piece.used;
                if at == bytes.len() {
                    break;
                }
            }
        }
    }

    #[test]
    fn our_own_frames_can_be_followed() {
        for length in [0, 125, 126, 0xffff, 0x10000] {
            let frame = server_frame(opcode::BINARY, &vec![7; length]);
            let mut follower = Follower::default();
            let piece = follower.next(&frame).unwrap().unwrap();
            assert!(piece.ends && piece.used == frame.len() && piece.payload.len() == length);
        }
        assert_eq!(close_frame(1012, "x"), [0x88, 3, 0x03, 0xf4, b'x']);
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        let bytes = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(Follower::default().next(&bytes), Err(ImpossibleLength));
    }
}
