"""Control plane: controllers, garbage collector, scheduler, leader election, rehearsal. `app` builds it."""
