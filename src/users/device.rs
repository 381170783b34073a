//! Browsers that somebody has signed in with before: what strangers try keeps them from nothing.

use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::cookie::Cookie;
use crate::{app::App, error::Result, registry::Tenant};

/// Seconds for which it is remembered.
const LIFETIME: i64 = 400 * 86_400;
/// People that one browser remembers.
const PEOPLE: usize = 8;

/// A browser that somebody has signed in with.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Device {
    /// Its name, random.
    pub id: String,
    /// The ids of those who have, the last one first.
    users: Vec<String>,
    /// When the last one did, Unix seconds.
    at: i64,
}

impl Device {
    /// What this browser is known for.
    #[must_use]
    pub fn of(app: &App, tenant: &Tenant, headers: &HeaderMap) -> Option<Self> {
        let ticket = Cookie::Device.read(tenant, headers)?;
        let device = app.devices.open::<Self>(tenant.name(), ticket)?;
        (app.clock.seconds() - device.at <= LIFETIME).then_some(device)
    }

    /// Its name, when this person has signed in with it.
    #[must_use]
    pub fn known_to(&self, user: &str) -> Option<&str> {
        let known = self.users.iter().any(|known| known == user);
        known.then_some(self.id.as_str())
    }

    /// The header that remembers that this person has signed in with this browser.
    ///
    /// # Errors
    /// When it cannot be sealed.
    pub fn remember(
        known: Option<Self>,
        app: &App,
        tenant: &Tenant,
        user: &str,
    ) -> Result<Option<HeaderValue>> {
        let mut device = known.unwrap_or_else(|| Self {
            id: app.entropy.id(),
            ..Self::default()
        });
        device.users.retain(|known| known != user);
        device.users.insert(0, user.to_owned());
        device.users.truncate(PEOPLE);
        device.at = app.clock.seconds();
        let ticket = app.devices.seal(tenant.name(), &device, &app.entropy)?;
        Ok(Cookie::Device.set(tenant, &ticket, Some(LIFETIME)))
    }
}
