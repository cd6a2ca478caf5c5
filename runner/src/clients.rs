//! Who is attached, whose the keyboard is, and how much of each client's input was accepted. A client outlives its
//! connections: it comes back under the same id, with what it could not know to have arrived.
//!
//! One operator has the keyboard, and with it the terminal's size. It keeps both until another takes them over, or until
//! it is not attached and another operator types or has a size to tell. One without a size, such as a pipe, comes for
//! neither.

use std::collections::HashMap;
use std::time::Instant;

use session::Role;
use session::frames::{Presence, Size, close};
use tokio::sync::watch;

/// Why a connection has to go, told to the task that serves it.
pub type Leave = Option<(u16, &'static str)>;

/// Attached connections at most: every viewer costs a socket and two buffers.
pub const MAX_VIEWERS: usize = 64;
/// Clients remembered after they left. The one that left first is forgotten first.
const MAX_REMEMBERED: usize = 256;

struct Client {
    /// Bytes of its input that were accepted.
    accepted: u64,
    /// Its last connection's number.
    connection: u64,
    attached: Option<Attached>,
    left: Instant,
}

struct Attached {
    connection: u64,
    role: Role,
    /// What it said last that it has room for.
    size: Option<Size>,
    leave: watch::Sender<Leave>,
}

#[derive(Default)]
pub struct Clients {
    by_id: HashMap<String, Client>,
    connections: u64,
    /// The client that has the keyboard, attached or not.
    holder: Option<String>,
}

/// As many viewers are attached as are possible.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_VIEWERS} viewers are attached already")]
pub struct Full;

/// Input that was not applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputRefused {
    #[error("the client has connected anew")]
    Replaced,
    #[error("input is missing before its offset")]
    Gap,
}

impl Clients {
    /// Takes a connection in, and sends the client's earlier one away.
    /// Returns the connection's number, the input accepted so far, and where it is told to leave.
    pub fn attach(&mut self, id: &str, role: Role) -> Result<(u64, u64, watch::Receiver<Leave>), Full> {
        let others = self.by_id.iter().filter(|(other, client)| client.attached.is_some() && *other != id).count();
        if others >= MAX_VIEWERS {
            return Err(Full);
        }
        self.forget_surplus();
        self.connections += 1;
        let (leave, told) = watch::channel(None);
        let attached = Attached { connection: self.connections, role, size: None, leave };
        let client = self.by_id.entry(id.to_owned()).or_insert_with(|| Client {
            accepted: 0,
            connection: 0,
            attached: None,
            left: Instant::now(),
        });
        client.connection = self.connections;
        if let Some(earlier) = client.attached.replace(attached) {
            earlier.leave.send_replace(Some((close::TAKEN_OVER, "this client has connected anew")));
        }
        Ok((self.connections, client.accepted, told))
    }

    /// Gives the keyboard to an operator unless another attached one has it; answers whether it has it now.
    pub fn claim(&mut self, id: &str) -> bool {
        if self.holder().is_none() && self.role(id) == Some(Role::Operator) {
            self.holder = Some(id.to_owned());
        }
        self.holder() == Some(id)
    }

    /// Gives the keyboard to an attached operator. `leave`: whoever had it is sent away.
    pub fn take_over(&mut self, id: &str, leave: bool) {
        if self.role(id) != Some(Role::Operator) || self.holder() == Some(id) {
            return;
        }
        if leave && let Some(earlier) = self.holder().and_then(|holder| self.by_id.get(holder)?.attached.as_ref()) {
            earlier.leave.send_replace(Some((close::TAKEN_OVER, "another operator has taken over")));
        }
        self.holder = Some(id.to_owned());
    }

    /// The attached client that has the keyboard.
    pub fn holder(&self) -> Option<&str> {
        self.holder.as_deref().filter(|holder| self.role(holder) == Some(Role::Operator))
    }

    /// What an attached client is told of the others.
    pub fn presence(&self, id: &str) -> Presence {
        let (operators, holder) = (self.operators(), self.holder());
        Presence { operators, viewers: self.attached() - operators, holds: holder == Some(id), held: holder.is_some() }
    }

    /// Notes what an attached client has room for.
    pub fn has_room_for(&mut self, id: &str, connection: u64, size: Size) {
        let attached = self.by_id.get_mut(id).and_then(|client| client.attached.as_mut());
        if let Some(attached) = attached.filter(|attached| attached.connection == connection) {
            attached.size = Some(size);
        }
    }

    /// The connection that a client has, or had last.
    pub fn connection(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).map(|client| client.connection)
    }

    /// The connection that has the keyboard, with what it has room for.
    pub fn holding(&self) -> Option<(u64, Option<Size>)> {
        let attached = self.by_id.get(self.holder()?)?.attached.as_ref()?;
        Some((attached.connection, attached.size))
    }

    fn role(&self, id: &str) -> Option<Role> {
        Some(self.by_id.get(id)?.attached.as_ref()?.role)
    }

    /// Whether it was attached still, and as what.
    pub fn detach(&mut self, id: &str, connection: u64) -> Option<Role> {
        let client = self.by_id.get_mut(id)?;
        let attached = client.attached.take_if(|attached| attached.connection == connection)?;
        client.left = Instant::now();
        Some(attached.role)
    }

    /// How many leading bytes of an input at `at` were accepted before; `None` takes it as it comes.
    /// What follows them is accepted by this call.
    pub fn accept(&mut self, id: &str, connection: u64, at: Option<u64>, len: usize) -> Result<usize, InputRefused> {
        let client = self.by_id.get_mut(id).ok_or(InputRefused::Replaced)?;
        if client.attached.as_ref().is_none_or(|attached| attached.connection != connection) {
            return Err(InputRefused::Replaced);
        }
        let Some(at) = at else { return Ok(0) };
        let seen = client.accepted.checked_sub(at).ok_or(InputRefused::Gap)?;
        let seen = usize::try_from(seen).unwrap_or(len).min(len);
        client.accepted += (len - seen) as u64;
        Ok(seen)
    }

    pub fn accepted(&self, id: &str) -> u64 {
        self.by_id.get(id).map_or(0, |client| client.accepted)
    }

    pub fn attached(&self) -> usize {
        self.by_id.values().filter(|client| client.attached.is_some()).count()
    }

    pub fn operators(&self) -> usize {
        let operator = |client: &&Client| client.attached.as_ref().is_some_and(|at| at.role == Role::Operator);
        self.by_id.values().filter(operator).count()
    }

    fn forget_surplus(&mut self) {
        while self.by_id.len() >= MAX_REMEMBERED + MAX_VIEWERS {
            let gone = self.by_id.iter().filter(|(_, client)| client.attached.is_none());
            let Some(id) = gone.min_by_key(|(_, client)| client.left).map(|(id, _)| id.clone()) else { return };
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_unseen_suffix_is_accepted_even_across_a_reconnect() {
        let mut clients = Clients::default();
        let (first, accepted, told) = clients.attach("a", Role::Operator).unwrap();
        assert_eq!(accepted, 0);
        assert_eq!(clients.accept("a", first, Some(0), 5), Ok(0));
        assert_eq!(clients.accept("a", first, Some(3), 4), Ok(2));
        assert_eq!(clients.accept("a", first, Some(8), 1), Err(InputRefused::Gap));
        let (second, accepted, _) = clients.attach("a", Role::Operator).unwrap();
        assert_eq!(accepted, 7);
        assert_eq!(told.borrow().unwrap().0, close::TAKEN_OVER);
        assert_eq!(clients.accept("a", first, Some(7), 1), Err(InputRefused::Replaced));
        assert_eq!(clients.accept("a", second, Some(0), 7), Ok(7));
        assert_eq!(clients.detach("a", first), None);
        assert_eq!(clients.operators(), 1);
        assert_eq!(clients.detach("a", second), Some(Role::Operator));
        assert_eq!(clients.accepted("a"), 7);
    }

    #[test]
    fn the_keyboard_is_one_operators_until_it_leaves_or_another_takes_it_over() {
        let mut clients = Clients::default();
        clients.attach("watching", Role::Viewer).unwrap();
        assert!(!clients.claim("watching"));
        let (a, _, told) = clients.attach("a", Role::Operator).unwrap();
        clients.attach("b", Role::Operator).unwrap();
        assert_eq!(clients.presence("a"), Presence { operators: 2, viewers: 1, holds: false, held: false });
        assert!(clients.claim("a"));
        assert_eq!(clients.presence("a"), Presence { operators: 2, viewers: 1, holds: true, held: true });
        assert!(!clients.claim("b"));
        clients.take_over("watching", true);
        assert_eq!(clients.holder(), Some("a"));
        clients.take_over("b", false);
        assert_eq!((clients.holder(), *told.borrow()), (Some("b"), None));
        clients.take_over("a", false);
        // A holder that comes back has it still, if nobody wanted it meanwhile.
        clients.detach("a", a).unwrap();
        assert_eq!(clients.presence("b"), Presence { operators: 1, viewers: 1, holds: false, held: false });
        let (again, _, told) = clients.attach("a", Role::Operator).unwrap();
        assert_eq!(clients.holder(), Some("a"));
        clients.take_over("b", true);
        assert_eq!(told.borrow().unwrap().0, close::TAKEN_OVER);
        clients.take_over("a", false);
        clients.detach("a", again).unwrap();
        assert!(clients.claim("b"));
        clients.attach("a", Role::Operator).unwrap();
        assert_eq!(clients.holder(), Some("b"));
    }

    #[test]
    fn viewers_and_memory_are_bounded() {
        let mut clients = Clients::default();
        for n in 0..MAX_VIEWERS {
            clients.attach(&format!("here {n}"), Role::Viewer).unwrap();
        }
        assert_eq!(clients.attach("one more", Role::Viewer).unwrap_err(), Full);
        clients.attach("here 0", Role::Viewer).unwrap();
        clients.detach("here 1", 2).unwrap();
        for n in 0..1000 {
            let (connection, ..) = clients.attach(&format!("gone {n}"), Role::Viewer).unwrap();
            clients.detach(&format!("gone {n}"), connection).unwrap();
        }
        assert!(clients.by_id.len() <= MAX_REMEMBERED + MAX_VIEWERS);
        assert_eq!(clients.attached(), MAX_VIEWERS - 1);
    }
}
