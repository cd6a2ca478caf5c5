//! The numbers of a control sequence, with xterm.js' limits: 32 parameters and 32 sub-parameters, each at most
//! 2^31 - 1, the first always there and 0 where it is left out.

const MAX: usize = 32;
/// A sub-parameter that was left out.
pub(crate) const ABSENT: i32 = -1;

#[derive(Clone, Debug)]
pub(crate) struct Params {
    values: [i32; MAX],
    len: usize,
    subs: [i32; MAX],
    subs_len: usize,
    /// Where the sub-parameters of each parameter lie in `subs`.
    spans: [(u8, u8); MAX],
    reject_digits: bool,
    reject_sub_digits: bool,
    digit_is_sub: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            values: [0; MAX],
            len: 1,
            subs: [0; MAX],
            subs_len: 0,
            spans: [(0, 0); MAX],
            reject_digits: false,
            reject_sub_digits: false,
            digit_is_sub: false,
        }
    }
}

impl Params {
    /// Back to a single 0.
    pub fn reset(&mut self) {
        self.values[0] = 0;
        self.spans[0] = (0, 0);
        self.len = 1;
        self.subs_len = 0;
        (self.reject_digits, self.reject_sub_digits, self.digit_is_sub) = (false, false, false);
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Parameter `index`, 0 where there is none.
    pub fn get(&self, index: usize) -> i32 {
        if index < self.len { self.values[index] } else { 0 }
    }

    /// Parameter `index` as a count or a position: 1 where it is 0 or left out.
    pub fn at_least_one(&self, index: usize) -> usize {
        self.get(index).max(1) as usize
    }

    pub fn values(&self) -> &[i32] {
        &self.values[..self.len]
    }

    pub fn subs(&self, index: usize) -> &[i32] {
        let (start, end) = self.spans[index];
        &self.subs[start.into()..end.into()]
    }

    /// Takes a digit, `;` or `:`.
    pub fn put(&mut self, byte: u8) {
        match byte {
            b';' => self.add(),
            b':' => self.add_sub(),
            digit => self.add_digit(i32::from(digit - b'0')),
        }
    }

    fn add(&mut self) {
        self.digit_is_sub = false;
        if self.len == MAX {
            self.reject_digits = true;
            return;
        }
        let at = self.subs_len as u8;
        self.spans[self.len] = (at, at);
        self.values[self.len] = 0;
        self.len += 1;
    }

    fn add_sub(&mut self) {
        self.digit_is_sub = true;
        if self.reject_digits || self.subs_len == MAX {
            self.reject_sub_digits = true;
            return;
        }
        self.subs[self.subs_len] = ABSENT;
        self.subs_len += 1;
        self.spans[self.len - 1].1 += 1;
    }

    fn add_digit(&mut self, digit: i32) {
        if self.reject_digits || (self.digit_is_sub && self.reject_sub_digits) {
            return;
        }
        let value = match self.digit_is_sub {
            true => &mut self.subs[self.subs_len - 1],
            false => &mut self.values[self.len - 1],
        };
        *value = match *value {
            ABSENT => digit,
            value => value.saturating_mul(10).saturating_add(digit),
        };
    }
}
