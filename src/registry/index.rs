//! Values that are found by a text of their own.
//!
//! There are millions of them: a map would keep for each a second pointer to that text, or the
//! text itself.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    sync::Arc,
};

/// Names the text that a `T` is found by.
pub(super) trait Key<T> {
    /// That text.
    fn of(value: &T) -> &str;
}

/// A value in a set, where it is found by its `K`.
#[derive(Debug)]
pub(super) struct By<K, T>(pub(super) Arc<T>, PhantomData<K>);

impl<K, T> By<K, T> {
    pub(super) const fn new(value: Arc<T>) -> Self {
        Self(value, PhantomData)
    }
}

impl<K: Key<T>, T> Borrow<str> for By<K, T> {
    fn borrow(&self) -> &str {
        K::of(&self.0)
    }
}

impl<K: Key<T>, T> Hash for By<K, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        K::of(&self.0).hash(state);
    }
}

impl<K: Key<T>, T> PartialEq for By<K, T> {
    fn eq(&self, other: &Self) -> bool {
        K::of(&self.0) == K::of(&other.0)
    }
}

impl<K: Key<T>, T> Eq for By<K, T> {}

/// Values found by their `K`. Readers take no lock; there is one writer.
pub(super) struct Index<K, T>(papaya::HashSet<By<K, T>>);

impl<K: Key<T>, T> fmt::Debug for Index<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({} values)", self.len())
    }
}

impl<K: Key<T>, T> Default for Index<K, T> {
    fn default() -> Self {
        Self(papaya::HashSet::new())
    }
}

impl<K: Key<T>, T> Index<K, T> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<T>> {
        self.0.pin().get(key).map(|by| by.0.clone())
    }

    /// Those of which something is true, in no order.
    pub(super) fn all_that(&self, holds: impl Fn(&T) -> bool) -> Vec<Arc<T>> {
        let values = self.0.pin();
        let found = values.iter().filter(|by| holds(&by.0));
        found.map(|by| by.0.clone()).collect()
    }

    /// Takes a value in, and gives back the one whose place it has taken.
    pub(super) fn put(&self, value: Arc<T>) -> Option<Arc<T>> {
        let old = self.get(K::of(&value));
        self.0.pin().insert(By::new(value));
        old
    }

    pub(super) fn remove(&self, key: &str) -> Option<Arc<T>> {
        let old = self.get(key);
        self.0.pin().remove(key);
        old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by the first word.
    #[derive(Debug)]
    struct First;

    impl Key<String> for First {
        fn of(value: &String) -> &str {
            value.split(' ').next().unwrap_or_default()
        }
    }

    #[test]
    fn what_comes_later_takes_the_place_of_what_was_there() {
        let index: Index<First, String> = Index::default();
        let put = |text: &str| {
            index
                .put(Arc::new(text.to_owned()))
                .map(|old| (*old).clone())
        };
        assert_eq!(put("a old"), None);
        assert_eq!(put("b other"), None);
        assert_eq!(put("a new").as_deref(), Some("a old"));
        assert_eq!(index.len(), 2);
        assert_eq!(index.get("a").as_deref().map(String::as_str), Some("a new"));
        let gone = index.remove("a");
        assert_eq!(gone.as_deref().map(String::as_str), Some("a new"));
        assert!(index.get("a").is_none() && index.get("b").is_some());
        assert_eq!(index.all_that(|text| text.starts_with('b')).len(), 1);
    }
}
