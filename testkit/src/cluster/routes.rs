//! Which replicas are there now, and where. Whatever stands in front of them looks here.

use std::net::SocketAddr;
use std::sync::Mutex;

use tokio::sync::watch;

/// The ports of a living controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControllerPorts {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub admin: SocketAddr,
}

/// The replicas by their number; `None` where one is not running.
pub struct Routes {
    controllers: watch::Sender<Vec<Option<ControllerPorts>>>,
    gateways: Mutex<Vec<Option<SocketAddr>>>,
}

impl Routes {
    pub fn new(controllers: usize, gateways: usize) -> Self {
        Self { controllers: watch::Sender::new(vec![None; controllers]), gateways: Mutex::new(vec![None; gateways]) }
    }

    pub fn set_controller(&self, index: usize, ports: Option<ControllerPorts>) {
        self.controllers.send_modify(|all| all[index] = ports);
    }

    pub fn set_gateway(&self, index: usize, address: Option<SocketAddr>) {
        self.gateways.lock().unwrap()[index] = address;
    }

    pub fn controllers(&self) -> Vec<Option<ControllerPorts>> {
        self.controllers.borrow().clone()
    }

    pub fn watch_controllers(&self) -> watch::Receiver<Vec<Option<ControllerPorts>>> {
        self.controllers.subscribe()
    }

    pub fn gateways(&self) -> Vec<Option<SocketAddr>> {
        self.gateways.lock().unwrap().clone()
    }
}
