package rooms

import "slices"

// Rooms that are walled off together.
var (
	front    = []string{"gateway", "gateway/identity", "gateway/api", "gateway/api/client"} // knows people and their requests
	judge    = all(checks, books)                                                           // decides what leaves
	checks   = []string{"export", "export/guard", "export/noise", "export/noised", "export/span"}
	books    = []string{"export/account", "export/answers"}                  // what was spent and said
	child    = []string{"sandbox/worker", "sandbox/isolate", "sandbox/wire"} // runs in a process of its own
	keeper   = []string{"sandbox", "sandbox/seal", "sandbox/sealfs"}         // holds the vault and its keys
	rules    = []string{"policy"}
	log      = []string{"audit"}
	database = []string{"internal/store"}
	speech   = []string{"internal/problem"}
	turns    = []string{"internal/fair"} // who waits, and nothing of what for
)

// demo keeps the demo out of every room: no line of the platform knows it.
var demo = Wall{[]string{"deploy", "internal/city"}, "the demo's data comes in through the same door as everybody's"}

func all(groups ...[]string) []string { return slices.Concat(groups...) }

// Plan is the floor plan. A new folder is no room until it stands here.
var Plan = []Room{
	{
		Path:  "cmd/weir",
		Holds: "the platform and its command line: a file for each subcommand, the wiring in one",
		Alone: true,
		May:   all(front, []string{"export"}, books, keeper, rules, log, database, speech, turns, demo.Rooms),
		Never: []Wall{
			{[]string{"export/guard", "export/noise", "export/noised", "export/span"}, "only the path of a query checks a query"},
			{[]string{"sandbox/worker"}, "it holds keys and people's requests, so it must have no engine to run them on; the engine lives in weir-worker"},
			{[]string{"sandbox/isolate", "sandbox/wire"}, "only the sandbox starts a child and speaks to it"},
		},
	},
	{
		Path:  "cmd/weir-worker",
		Holds: "the child that plans, runs and reads in: the only program with the engine",
		Alone: true,
		May:   []string{"sandbox/worker", "sandbox/isolate"},
		Never: []Wall{
			{front, "the process that sees data must not be able to answer anyone"},
			{judge, "the process that sees data must not be able to judge or release its own result"},
			{rules, "a worker decides nothing; what it may open is handed to it"},
			{all(log, database), "a worker that is broken into must find neither the log nor the store"},
			{keeper, "the parent's side holds the vault's keys"},
			{[]string{"sandbox/wire"}, "what is said between the processes is read in one place, sandbox/worker"},
			{speech, "what a worker says travels as a code; only the platform speaks to people"},
			{turns, "a worker serves one job, and nobody waits for it"},
			demo,
		},
	},
	{
		Path:  "gateway",
		Holds: "the one path from request to release, the jobs that take it, and the acts of officials",
		May:   all([]string{"gateway/identity"}, judge, keeper, rules, log, database, speech, turns),
		Never: []Wall{
			{[]string{"gateway/api", "gateway/api/client"}, "the path of a query knows no HTTP, so that it can be read and tested alone"},
			{child, "the gateway asks the sandbox for a result and never touches a child or an engine"},
			demo,
		},
	},
	{
		Path:  "gateway/identity",
		Holds: "who somebody is: accounts, sessions, tokens",
		May:   all(rules, database, speech, turns),
		Never: []Wall{
			{[]string{"gateway", "gateway/api", "gateway/api/client"}, "who somebody is must not depend on what they ask for"},
			{all(judge, keeper, child), "who handles passwords must not be near data"},
			{log, "the gateway writes the log around it"},
			demo,
		},
	},
	{
		Path:  "gateway/api",
		Holds: "HTTP: the specification, the server that is generated from it, and the handlers",
		May:   all([]string{"gateway", "gateway/identity", "export", "export/account"}, rules, log, speech, turns),
		Tests: all([]string{"gateway/api/client"}, database),
		Never: []Wall{
			{[]string{"gateway/api/client"}, "the server does not ask itself"},
			{[]string{"export/answers", "export/guard", "export/noise", "export/noised", "export/span"}, "only the path of a query checks a query"},
			{all(keeper, child), "what faces the network must not reach the vault, a child or an engine"},
			{database, "what faces the network has no statement to send to the store"},
			demo,
		},
	},
	{
		Path:  "gateway/api/client",
		Holds: "HTTP from the other side, generated from the specification",
		May:   nil,
		Never: []Wall{
			{all([]string{"gateway", "gateway/identity", "gateway/api"}, judge, keeper, child, rules, log, database, speech, turns),
				"a client knows of the platform what the specification says and nothing else"},
			demo,
		},
	},
	{
		Path:  "export",
		Holds: "the evidence filter, the noise, the queue of the officers: what decides that something may leave",
		May:   all([]string{"export/guard", "export/noise", "export/noised", "export/span"}, books, keeper, rules, database, speech, turns),
		Never: []Wall{
			{front, "the judge of results must not know who asks over which wire"},
			{log, "the gateway writes the log around the judge; a judge that writes its own record could leave itself out"},
			{child, "the judge sees plans and evidence, never an engine"},
			demo,
		},
	},
	{
		Path:  "export/guard",
		Holds: "the guard: from the engine's bound plan to typed relations and guarded SQL",
		May:   all([]string{"export/noise"}, keeper, rules, speech, turns),
		Never: []Wall{
			{all(front, []string{"export", "export/noised", "export/span"}, books, log, database), "whether a query is safe follows from its plan, the schema and the rules, and from nothing that was stored or said before"},
			{child, "the guard sees plans, never an engine"},
			demo,
		},
	},
	{
		Path:  "export/span",
		Holds: "the algebra of what released cells say together",
		May:   nil,
		Never: []Wall{
			{all(front, []string{"export", "export/guard", "export/noise", "export/noised"}, books, keeper, child, rules, log, database, speech, turns), "it is mathematics over numbers, so that it can be proved and tested without anything else"},
			demo,
		},
	},
	{
		Path:  "export/noise",
		Holds: "the draws that hide one unit, and what they prove",
		May:   nil,
		Never: []Wall{
			{all(front, []string{"export", "export/guard", "export/noised", "export/span"}, books, keeper, child, rules, log, database, speech, turns), "it is mathematics over numbers, so that it can be proved and tested without anything else"},
			demo,
		},
	},
	{
		Path:  "export/noised",
		Holds: "a question of the noised modes on its way: what is public of it, what it costs, its figures with noise",
		May:   all([]string{"export/guard", "export/noise"}, keeper, speech),
		Never: []Wall{
			{all(front, []string{"export", "export/span"}, books, rules, log, database, turns), "what is drawn follows from the question and its figures; who pays for it, and who may ask, is decided around it"},
			{child, "it sees figures, never an engine"},
			demo,
		},
	},
	{
		Path:  "export/hunt",
		Holds: "tests that look for leaks in what the other rooms of the judge do together",
		Alone: true,
		May:   all(checks, keeper, rules, database, speech),
		Never: []Wall{
			{all(front, books, log, turns), "it is told what an analyst is told, and looks at what decides it, and at nothing around it"},
			{child, "it asks a worker as the platform does"},
			demo,
		},
	},
	{
		Path:  "export/account",
		Holds: "what the answers of the noised modes have cost, by domain and operator",
		May:   all(database, speech, turns),
		Never: []Wall{
			{all(front, checks, []string{"export/answers"}, keeper, child, rules),
				"what a question costs and whose share is how large is told to it; it only adds up, so that a supervisor can do the sum again"},
			{log, "the gateway writes the log around it and reads it back to it"},
			demo,
		},
	},
	{
		Path:  "export/answers",
		Holds: "the answers of the noised modes, encrypted, so that each is drawn once",
		May:   all(database, speech, turns),
		Never: []Wall{
			{all(front, checks, []string{"export/account"}, keeper, child, rules), "it keeps what was drawn under the name it is given, and must not be able to draw"},
			{log, "the gateway writes the log around it"},
			demo,
		},
	},
	{
		Path:  "sandbox",
		Holds: "the vault, and the parent's side of planner, worker and intake processes",
		May:   all([]string{"sandbox/isolate", "sandbox/seal", "sandbox/sealfs", "sandbox/wire"}, rules, database, speech, turns),
		Never: []Wall{
			{front, "data is kept without knowing who is asking"},
			{judge, "who keeps the data must not decide what leaves"},
			{log, "who keeps the data must not write the log about it; the gateway does, around it"},
			{[]string{"sandbox/worker"}, "the parent holds the vault's keys and must not link the engine"},
			demo,
		},
	},
	{
		Path:  "sandbox/seal",
		Holds: "the form in which data lies on a disk, and the keys that wrap keys",
		May:   nil,
		Never: []Wall{
			{all(front, judge, []string{"sandbox", "sandbox/sealfs"}, child, rules, log, database, speech, turns),
				"what encrypts must be readable alone; it is told what for and knows nobody"},
			demo,
		},
	},
	{
		Path:  "sandbox/sealfs",
		Holds: "what answers a worker's kernel when it reads a file that is shown to it",
		May:   nil,
		Never: []Wall{
			{all(front, judge, []string{"sandbox", "sandbox/seal"}, child, rules, log, database, speech, turns),
				"it is handed readers and shows them; keys and data sets are not its business"},
			demo,
		},
	},
	{
		Path:  "sandbox/wire",
		Holds: "what the platform and its children say to each other",
		May:   nil,
		Never: []Wall{
			{all(front, judge, keeper, []string{"sandbox/worker", "sandbox/isolate"}, rules, log, database, speech, turns),
				"both sides link it, so it must bring neither's things to the other"},
			demo,
		},
	},
	{
		Path:  "sandbox/isolate",
		Holds: "the walls that the operating system puts around a child",
		May:   nil,
		Tests: []string{"sandbox/wire"}, // to time a child that answers
		Never: []Wall{
			{all(front, judge, keeper, []string{"sandbox/worker", "sandbox/wire"}, rules, log, database, speech, turns),
				"it runs first in every child and must be readable alone"},
			demo,
		},
	},
	{
		Path:  "sandbox/isolate/escape",
		Holds: "the program that tries to get out, with the platform's part of it",
		Alone: true,
		May:   []string{"sandbox/isolate", "sandbox/sealfs"},
		Never: []Wall{
			{all(front, judge, []string{"sandbox", "sandbox/seal", "sandbox/worker", "sandbox/wire"}, rules, log, database, speech, turns),
				"what it tries must rest on the walls alone"},
			demo,
		},
	},
	{
		Path:  "sandbox/worker",
		Holds: "the child's side: the engine, bound to one job",
		May:   []string{"sandbox/isolate", "sandbox/wire"},
		Never: []Wall{
			{front, "the process that sees data must not be able to answer anyone"},
			{judge, "the process that sees data must not be able to judge or release its own result"},
			{rules, "a worker decides nothing; what it may open is handed to it"},
			{all(log, database), "a worker that is broken into must find neither the log nor the store"},
			{keeper, "the parent's side holds the vault's keys"},
			{speech, "what a worker says travels as a code; only the platform speaks to people"},
			{turns, "a worker serves one job, and nobody waits for it"},
			demo,
		},
	},
	{
		Path:  "policy",
		Holds: "the nouns that all share, and the decision whether somebody may ask",
		May:   all(database, speech, turns),
		Never: []Wall{
			{all(front, judge, keeper, child, log),
				"all rooms lean on policy's words; a decision must depend on the facts it is given and on nothing else"},
			demo,
		},
	},
	{
		Path:  "audit",
		Holds: "the log that nobody can rewrite unnoticed",
		May:   all(database, speech, turns),
		Never: []Wall{
			{all(front, judge, keeper, child, rules),
				"the log must not depend on what it is a witness of; a supervisor reads and verifies it with this room alone"},
			demo,
		},
	},
	{
		Path:  "internal/store",
		Holds: "opening the database and migrating it; the tables belong to the rooms",
		May:   nil,
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, speech, turns), "it knows no room's tables, so that each room owns its own"},
			demo,
		},
	},
	{
		Path:  "internal/problem",
		Holds: "the one kind of error that a person reads",
		May:   nil,
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, database, turns), "a message must not be able to reach data; each room registers its own catalogue here"},
			demo,
		},
	},
	{
		Path:  "internal/fair",
		Holds: "whose turn it is among those who wait",
		May:   nil,
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, database, speech), "it knows keys and counts, and nothing of what is waited for"},
			demo,
		},
	},
	{
		Path:  "internal/city",
		Holds: "the generator of the demo's city",
		May:   []string{"deploy"},
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, database, speech, turns), "it writes files and nothing else"},
		},
	},
	{
		Path:  "deploy",
		Holds: "units, images, sample settings, the parameters of the demo's city",
		May:   nil,
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, database, speech, turns, []string{"internal/city"}), "it holds files and no code that runs"},
		},
	},
	{
		Path:  "internal/rooms",
		Holds: "this plan",
		Alone: true,
		Never: []Wall{
			{all(front, judge, keeper, child, rules, log, database, speech, turns, demo.Rooms), "the plan reads the rooms from outside"},
		},
	},
}

// Links are the foreign packages that some of ours must not have.
var Links = []Link{
	{
		Of:      []string{"*"},
		Except:  []string{"cmd/weir-worker", "sandbox/worker"},
		Never:   []string{"github.com/duckdb"},
		Because: "only the worker has an engine; elsewhere there is no code that could run an analyst's text on data",
	},
	{
		Of: []string{"cmd/weir-worker", "sandbox/worker"},
		Never: []string{
			"github.com/gin-gonic", "github.com/golang-jwt", "github.com/go-jose", "github.com/coreos/go-oidc", "golang.org/x/oauth2",
			"github.com/uptrace/bun", "github.com/mattn/go-sqlite3", "github.com/jackc/pgx", "github.com/open-policy-agent", "net/http",
		},
		Because: "the process that sees data has no server, no keys, no store and no say in who may ask",
	},
	{
		Of:      []string{"gateway"},
		Never:   []string{"net/http", "github.com/gin-gonic"},
		Direct:  true,
		Because: "the path of a query is plain Go that can be read aloud in a review",
	},
	{
		Of:      []string{"export", "export/guard", "policy", "sandbox", "audit"},
		Never:   []string{"github.com/gin-gonic", "github.com/golang-jwt", "github.com/coreos/go-oidc"},
		Because: "only the gateway knows the wire that people come over, and who they are",
	},
}
