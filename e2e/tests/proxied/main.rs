//! Terminals through what stands between clients and servers: proxies that cut what is silent, networks that vanish
//! without a word. These tests take the minutes that they are about, side by side.

mod replicas;
mod silence;
mod swallow;
mod vanish;
