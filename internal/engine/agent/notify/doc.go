// Package notify takes the notifications of one listener, has them decided and
// enforces the decisions, until no filtered task is left.
package notify
