// SPDX-License-Identifier: Apache-2.0
// Attacks between check and use. Each makes attempts to have a call executed with
// bytes that the policy denies: in the current directory, "safe" may be opened and
// "secret" may not. It wins when it has what is in "secret".
//
// Every attack runs against two defenders. One looks at memory and lets the call go
// on (plain.c): there it must win, or its failure against the other says nothing.
#ifndef TOCTOU_H
#define TOCTOU_H

#include "attacker.h"

enum { SAFE, SECRET };

// Eight bytes each, so that one store turns the one into the other.
extern const char words[2][8];

// What all threads and processes of an attack share.
struct tally {
	atomic_long attempts, passed, won, told;
	atomic_int over, turn;
	long limit, enough;
	ino_t secret;
	dev_t device; // where it is
	pid_t supervisor; // 0 for the parent
};

extern struct tally *tally;

// The memory to which the defender redirects calls: none where it does not.
struct area {
	char *start, *end;
};

// A slot, which serves one call, is a multiple of this long.
enum { SLOT = 32 << 10, PAGE = 4096 };

// What /proc/self/maps says now. There have to be slots after a call that was let through.
struct area look_for_slots(void);
struct area find_slots(void);

// Works on the string's own page and then on some slots, others each time.
void everywhere(char *page, struct area slots, void (*work)(char *at));

// An attack by name.
struct attack {
	const char *name;
	void (*run)(void);
};

extern const struct attack memory_attacks[], remap_attacks[], slot_attacks[],
	task_attacks[], storm_attacks[], door_attacks[], structure_attacks[];

// Starts or continues a tally in a file; -1 for a new one that only children share.
void share_tally(int fd);

// Says how many attempts were made, passed and were won.
void say_score(const char *prefix);

// Whether to go on. Says about once a second how far the attack is.
int more(void);

// One attempt each.
void open_path(const char *path);
void stat_path(const char *path);

// Attempts until there are enough. It takes what beside and apart take.
void open_until_over(const char *path);

// Counts a call that passed, and what it got: a win if fd is the secret. Closes it.
void judge(int fd);

// Counts a call that passed.
void passed(int won);

// Ends what goes on beside.
void finish(void);

// Puts a word there.
void store(char *to, int word);

// Puts eight bytes there, then others. As fast as it goes, but not always: where there
// are fewer processors than threads, who sleeps is woken between check and use, and
// who runs is not.
void swing(char *at, uint64_t there, uint64_t back);

// Puts "secret" there, then "safe".
void flip(char *at);

// Fresh memory that begins with "safe"; by itself or shared with children.
char *own_page(void);
char *shared_page(void);

// A file in memory whose first page begins with "safe", its second with "secret".
int two_pages(void);

// Repeats work until the attack is over, in another thread or process.
void beside(void (*work)(char *), char *arg);
pid_t apart(void (*work)(char *), char *arg);

// A child that runs work once and that ends with its parent.
pid_t child(void (*work)(char *), char *arg);

// Lets a time pass that is different each time, up to about so many microseconds.
void dawdle(int most);

int toctou(char **args);

#endif
