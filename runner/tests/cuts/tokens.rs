//! Input that tells who typed it and in which place: numbers of six digits in an alphabet of the typist's own.

pub const LENGTH: usize = 7;

pub struct Tokens {
    pub all: Vec<u8>,
    /// How much of it may be typed without the keyboard.
    early: u64,
    accepted: u64,
}

impl Tokens {
    /// `early` numbers for any time, and then `late` ones.
    pub fn new(zero: u8, early: u32, late: u32) -> Self {
        let all = (0..early + late).flat_map(|number| {
            let digits = format!("{number:06}").into_bytes().into_iter().map(move |digit| digit - b'0' + zero);
            digits.chain([b' '])
        });
        Self { all: all.collect(), early: u64::from(early) * LENGTH as u64, accepted: 0 }
    }

    /// The runner says how much it has accepted.
    pub fn accepted(&mut self, until: u64) {
        assert!(until >= self.accepted, "less was accepted than before: {until} after {}", self.accepted);
        assert!(until <= self.all.len() as u64, "more was accepted than typed: {until}");
        self.accepted = until;
    }

    pub fn has_late(&self) -> bool {
        self.early < self.all.len() as u64
    }

    /// How far it may be typed now.
    pub fn until(&self, late: bool) -> u64 {
        if late { self.all.len() as u64 } else { self.early }
    }
}

/// The numbers that arrived from the typist of this alphabet, in their order.
pub fn arrived(typed: &[u8], zero: u8) -> Vec<u32> {
    assert_eq!(typed.len() % LENGTH, 0, "whole numbers arrive");
    let of_typist = |token: &&[u8]| (zero..zero + 10).contains(&token[0]);
    let number = |token: &[u8]| {
        assert!(token[6] == b' ' && token[..6].iter().all(|digit| (zero..zero + 10).contains(digit)), "{token:?}");
        token[..6].iter().fold(0, |number, digit| number * 10 + u32::from(digit - zero))
    };
    typed.chunks_exact(LENGTH).filter(of_typist).map(number).collect()
}
