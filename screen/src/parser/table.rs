//! Where each code point leads from each state: xterm.js' `VT500_TRANSITION_TABLE`.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Ground,
    Escape,
    EscapeIntermediate,
    CsiEntry,
    CsiParam,
    CsiIntermediate,
    CsiIgnore,
    /// SOS, PM and APC: read over.
    Ignored,
    Osc,
    DcsEntry,
    DcsParam,
    DcsIgnore,
    DcsIntermediate,
    DcsPassthrough,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Ignore,
    Print,
    Execute,
    OscStart,
    OscPut,
    OscEnd,
    CsiDispatch,
    Param,
    Collect,
    EscDispatch,
    Clear,
    DcsHook,
    DcsPut,
    DcsUnhook,
}

/// The first code point that is not told apart from those above it.
pub(super) const BEYOND: u32 = 0xa0;
const STATES: [State; 14] = [
    State::Ground,
    State::Escape,
    State::EscapeIntermediate,
    State::CsiEntry,
    State::CsiParam,
    State::CsiIntermediate,
    State::CsiIgnore,
    State::Ignored,
    State::Osc,
    State::DcsEntry,
    State::DcsParam,
    State::DcsIgnore,
    State::DcsIntermediate,
    State::DcsPassthrough,
];

/// [`transition`] for every state and code point.
pub(super) static TABLE: [[(Action, State); BEYOND as usize + 1]; STATES.len()] = {
    let mut table = [[(Action::Ignore, State::Ground); BEYOND as usize + 1]; STATES.len()];
    let mut state = 0;
    while state < STATES.len() {
        let mut code = 0;
        while code <= BEYOND {
            table[state][code as usize] = transition(STATES[state], code);
            code += 1;
        }
        state += 1;
    }
    table
};

/// Where `code` leads from `state`. In the order of xterm.js' table, whose later entries override earlier ones.
const fn transition(state: State, code: u32) -> (Action, State) {
    use Action::*;
    use State::*;
    let executable = matches!(code, 0..=0x17 | 0x19 | 0x1c..=0x1f);
    let specific = match (state, code) {
        (Ground, 0x20..=0x7e | 0xa0..) => Some((Print, Ground)),
        (Ground | Escape | EscapeIntermediate | CsiEntry | CsiParam | CsiIntermediate | CsiIgnore, _) if executable => {
            Some((Execute, state))
        }
        (Osc, 0x07 | 0x18 | 0x1a | 0x1b | 0x9c) => Some((OscEnd, Ground)),
        (Osc, 0x20..=0x7f | 0xa0..) => Some((OscPut, Osc)),
        (DcsPassthrough, 0x18 | 0x1a | 0x1b | 0x9c) => Some((DcsUnhook, Ground)),
        (DcsPassthrough, 0x20..=0x7e | 0xa0..) => Some((DcsPut, DcsPassthrough)),
        (DcsPassthrough, _) if executable => Some((DcsPut, DcsPassthrough)),
        (Osc | Ignored | DcsEntry | DcsParam | DcsIgnore | DcsIntermediate, _) if executable => Some((Ignore, state)),
        (Ignored, 0x20..=0x7f) | (DcsIgnore, 0x20..=0x7f | 0xa0..) => Some((Ignore, state)),
        (CsiIgnore, 0x20..=0x3f | 0x7f | 0xa0..) => Some((Ignore, CsiIgnore)),
        (Ground, 0x7f) => Some((Ignore, Ground)),
        (_, 0x7f) => Some((Ignore, state)),
        (Escape, b) => after_escape(b),
        (EscapeIntermediate, 0x20..=0x2f) => Some((Collect, EscapeIntermediate)),
        (EscapeIntermediate, 0x30..=0x7e) => Some((EscDispatch, Ground)),
        (CsiEntry | CsiParam | CsiIntermediate, 0x40..=0x7e) => Some((CsiDispatch, Ground)),
        (CsiEntry | CsiParam, 0x30..=0x3b) => Some((Param, CsiParam)),
        (CsiEntry, 0x3c..=0x3f) => Some((Collect, CsiParam)),
        (CsiParam, 0x3c..=0x3f) | (CsiIntermediate, 0x30..=0x3f) => Some((Ignore, CsiIgnore)),
        (CsiEntry | CsiParam | CsiIntermediate, 0x20..=0x2f) => Some((Collect, CsiIntermediate)),
        (CsiIgnore, 0x40..=0x7e) => Some((Ignore, Ground)),
        (DcsEntry | DcsParam | DcsIntermediate, 0x40..=0x7e) => Some((DcsHook, DcsPassthrough)),
        (DcsEntry | DcsParam, 0x30..=0x3b) => Some((Param, DcsParam)),
        (DcsEntry, 0x3c..=0x3f) => Some((Collect, DcsParam)),
        (DcsParam, 0x3c..=0x3f) | (DcsIntermediate, 0x30..=0x3f) => Some((Ignore, DcsIgnore)),
        (DcsEntry | DcsParam | DcsIntermediate, 0x20..=0x2f) => Some((Collect, DcsIntermediate)),
        _ => None,
    };
    match specific {
        Some(specific) => specific,
        None => anywhere(code),
    }
}

const fn after_escape(code: u32) -> Option<(Action, State)> {
    Some(match code {
        0x20..=0x2f => (Action::Collect, State::EscapeIntermediate),
        0x50 => (Action::Clear, State::DcsEntry),
        0x5b => (Action::Clear, State::CsiEntry),
        0x5d => (Action::OscStart, State::Osc),
        0x58 | 0x5e | 0x5f => (Action::Ignore, State::Ignored),
        0x30..=0x7e => (Action::EscDispatch, State::Ground),
        _ => return None,
    })
}

/// What holds in every state; what is not even here is an error, which xterm.js passes over.
const fn anywhere(code: u32) -> (Action, State) {
    match code {
        0x1b => (Action::Clear, State::Escape),
        0x90 => (Action::Clear, State::DcsEntry),
        0x9b => (Action::Clear, State::CsiEntry),
        0x9d => (Action::OscStart, State::Osc),
        0x98 | 0x9e | 0x9f => (Action::Ignore, State::Ignored),
        0x18 | 0x1a | 0x80..=0x97 | 0x99 | 0x9a => (Action::Execute, State::Ground),
        _ => (Action::Ignore, State::Ground),
    }
}
