//! The Kubernetes launcher against an API server that follows a script: what it asks for, what it makes of each
//! answer, and what it does when there is none.

mod calling;
mod script;
mod watching;
