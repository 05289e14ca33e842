//! Live peers: our outbounds through servers nobody here wrote, and their clients on our server.

mod as_client;
mod as_server;
mod chain;
mod configs;
mod paniq_go;
mod udp;
