// scripts.h: the Lua scripts of the registry, as text. The files are
// proto/redis/*.lua; each states its keys, arguments, answer and reason at its head.
#pragma once

extern const char script_register[];   // write a link; its epoch, what it displaced, who to tell
extern const char script_unregister[]; // delete a link if it is exactly ours
extern const char script_verify[];     // write a link again if missing or older; or SUPERSEDED
extern const char script_resolve[];    // read a user's links, and note who remembers them
extern const char script_heartbeat[];  // renew a lease; tells whether it had been lost
extern const char script_lead[];       // take or renew sweeper leadership, with a fence
extern const char script_reap_list[];  // some members of a dead node, if dead and fence is current
extern const char script_reap_row[];   // delete a user's row if it still points at the dead node
extern const char script_reap_done[];  // drop reaped members, if the node is still dead
