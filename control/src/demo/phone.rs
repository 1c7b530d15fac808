//! A client's own socket, as its user's program would use it.

use crate::local::ask;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// One client.
pub struct Phone {
    name: String,
    socket: PathBuf,
}

impl Phone {
    /// The client that listens at `socket`.
    pub fn new(name: &str, socket: &Path) -> Phone {
        Phone { name: name.to_owned(), socket: socket.to_owned() }
    }

    fn ask(&self, request: &Value) -> Result<Value, String> {
        let name = &self.name;
        let answer = ask(&self.socket, &request.to_string()).map_err(|error| format!("{name}: {error}"))?;
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|error| format!("{name}: an answer that is no JSON: {error}: {answer}"))?;
        match answer.get("error") {
            Some(error) => Err(format!("{name}: {} is refused: {error}", request["do"])),
            None => Ok(answer),
        }
    }

    /// How it is.
    ///
    /// # Errors
    /// It does not answer.
    pub fn status(&self) -> Result<PhoneStatus, String> {
        Ok(PhoneStatus(self.ask(&json!({ "do": "status" }))?))
    }

    /// Calls who holds the certificate in this file.
    ///
    /// # Errors
    /// It refuses.
    pub fn call(&self, certificate: &Path) -> Result<(), String> {
        self.ask(&json!({ "do": "call", "certificate": certificate })).map(drop)
    }

    /// Ends the call.
    ///
    /// # Errors
    /// It refuses.
    pub fn hang_up(&self) -> Result<(), String> {
        self.ask(&json!({ "do": "hang_up" })).map(drop)
    }
}

/// A client's status.
pub struct PhoneStatus(Value);

impl PhoneStatus {
    fn view(&self, key: &str) -> &Value {
        &self.0["call"][key]
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Where it is registered.
    pub fn registered(&self) -> Option<&str> {
        self.view("registered").as_str()
    }

    /// Where the call is: idle, up, and what lies between.
    pub fn state(&self) -> &str {
        self.view("state").as_str().unwrap_or("unknown")
    }

    /// The short authentication string.
    pub fn sas(&self) -> Option<&str> {
        self.view("sas").as_str()
    }

    /// From the command to the call, ms.
    pub fn set_up_ms(&self) -> Option<f64> {
        self.view("set_up_ms").as_f64()
    }

    /// How long its half's circuit took to build, ms.
    pub fn circuit_ms(&self) -> Option<f64> {
        self.view("circuit_ms").as_f64()
    }

    /// How the last call ended.
    pub fn last(&self) -> Option<&str> {
        self.view("last").as_str()
    }

    /// Renewals of its link's keys.
    pub fn rekeys(&self) -> u64 {
        self.0["links"]["rekeys"].as_u64().unwrap_or(0)
    }

    /// Times of its handshakes, ms.
    pub fn handshakes_ms(&self) -> Vec<f64> {
        times(&self.0["handshakes_ms"])
    }
}

/// What a mix's control daemon tells.
pub struct DaemonStatus(Value);

impl DaemonStatus {
    /// Asks the daemon at `socket`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn of(socket: &Path) -> Result<DaemonStatus, String> {
        let answer = ask(socket, "{\"do\":\"status\"}")?;
        let parsed = serde_json::from_str(&answer);
        parsed.map(DaemonStatus).map_err(|error| format!("{}: no JSON: {error}", socket.display()))
    }

    /// All of it.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Links that it took from the data plane at its start; none while it has not reached the data plane.
    pub fn adopted(&self) -> Option<u64> {
        self.0["totals"]["adopted_links"].as_u64()
    }

    /// Renewals of links' keys.
    pub fn rekeys(&self) -> u64 {
        self.0["totals"]["links"]["rekeys"].as_u64().unwrap_or(0)
    }

    /// Times of its last handshakes, ms.
    pub fn handshakes_ms(&self) -> Vec<f64> {
        times(&self.0["totals"]["handshakes_ms"])
    }
}

fn times(value: &Value) -> Vec<f64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}
