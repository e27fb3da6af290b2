//! Connections that go on in other processes.

use hatchery_core::Service;

use super::Worker;
use crate::ServeError;

impl Worker {
    /// The same worker, whose connections can move to another process instead of being closed.
    ///
    /// `name` says which protocol it is, `state` which version of what a connection
    /// carries: connections move only between processes that serve a listener
    /// with the same of both. To change what is carried, count `state` up.
    ///
    /// A handler moves its connection with [`Conn::hand_over`](crate::Conn::hand_over) when
    /// [`Conn::asked_to_move`](crate::Conn::asked_to_move) completes.
    ///
    /// A name that is empty or has a `/` is an error when it is served.
    ///
    /// ```no_run
    /// use hatchery_worker::{Conn, ServeError, Worker};
    ///
    /// async fn app(worker: Worker) -> Result<(), ServeError> {
    ///     worker.carrying("echo", 1).serve(async |conn: Conn| drop(conn)).await
    /// }
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn carrying(&self, name: &str, state: u32) -> Self {
        let scope = match Service::check_name(name) {
            Ok(()) => self.scope.clone(),
            Err(_) => self.scope.clone().and(Err(ServeError::BadServiceName { name: name.to_owned() })),
        };
        Self { scope, carrying: Some((name.into(), state)), ..self.clone() }
    }

    /// Completes when others have fewer connections, with how many of those that are idle should move to them.
    ///
    /// Once for each time that the master asks: what cannot be moved then stays,
    /// and the master counts again. Each value of `Worker` hears each order once, and a clone is
    /// a value of its own: of several that wait on the same one, one hears it.
    ///
    /// It is for a protocol crate that has all its connections in one place. The handler of a raw protocol
    /// awaits [`Conn::asked_to_move`](crate::Conn::asked_to_move) instead. Where neither is awaited, connections
    /// stay where they are however uneven that is, until their worker drains.
    ///
    /// # Cancel safety
    /// The future may be dropped and asked for again at any time.
    ///
    /// # Example
    /// ```no_run
    /// use std::cell::RefCell;
    ///
    /// use hatchery_worker::Worker;
    ///
    /// /// Moves connections that wait for their next request to workers that have fewer.
    /// async fn even_out<C>(worker: &Worker, idle: &RefCell<Vec<C>>, move_one: fn(C)) {
    ///     loop {
    ///         worker.asked_to_shed().await;
    ///         while let Some(connection) = idle.borrow_mut().pop_if(|_| worker.shed_one()) {
    ///             move_one(connection);
    ///         }
    ///     }
    /// }
    /// # let _ = even_out::<()>;
    /// ```
    pub async fn asked_to_shed(&self) -> usize {
        self.shared.shed.asked(&self.heard).await
    }

    /// Takes one of the connections that are to move; `false` when enough have.
    ///
    /// The next step is [`Permit::poll_move`](crate::Permit::poll_move), or [`Conn::hand_over`](crate::Conn::hand_over)
    /// where [`Conn::asked_to_move`](crate::Conn::asked_to_move), which asks here itself, is not awaited.
    ///
    /// ```no_run
    /// use hatchery_worker::{Permit, Worker};
    ///
    /// fn moves(worker: &Worker, permit: &Permit, listener: usize) -> bool {
    ///     // In this order: one that nobody takes is none of those that are to go.
    ///     permit.has_heir(listener) && worker.shed_one()
    /// }
    /// # let _ = moves;
    /// ```
    #[must_use = "only what was taken is to move"]
    pub fn shed_one(&self) -> bool {
        self.shared.shed.take()
    }

    pub(crate) fn service(&self) -> Option<(&str, u32)> {
        self.carrying.as_ref().map(|(name, state)| (&**name, *state))
    }
}
