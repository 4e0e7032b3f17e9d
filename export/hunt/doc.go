// Package hunt looks for leaks. It holds no code of the platform: it is a test that plays the distinguisher.
//
// Two worlds have the same entries in their catalogues and differ in what is secret of one unit, or in the order of
// their rows. The same story of questions is asked in both (play_test.go), and what is heard is compared
// (compare_test.go). In the noised modes these are finds:
//
//   - public: something that is no noised figure differs: a refusal or its message, public sizes, a price, how much noise
//     there is. The second world is made to give the first one's answers, so a result must be the same to the last
//     digit: which rows come, their order, flags, values, error bounds.
//   - charge: with the figures as they are without noise, Σ (difference/σ)²/2 is more than was charged, or the unit's
//     domain was charged nothing. A quantile's probabilities differ by more than its price allows.
//   - noise: under the same draws, answers differ by something else than their figures do; or two answers have the same
//     noise.
//   - threshold: a group that exists because of one unit could be shown with a probability that the account's δ was not
//     charged for.
//   - kept: the same question again has another answer, or costs something.
//
// In exact mode, values are true, so they may differ. What an analyst learns before an officer has released a result must
// not: the state, and the code and message of a refusal. What checks E1 to E7 promise of released values together is
// held by the tests of package export, which know the rows of each cell.
//
// How long a job runs, and how much memory it takes, is not compared.
//
// Finds are made small (shrink_test.go) and kept as files in testdata/finds, which are played again at each test. Anybody
// may add one: it holds the rows of both worlds and the story. `make hunt MINUTES=n` hunts for longer; the tests
// themselves hunt for seconds, from a fixed seed. TestHunterFinds brings old faults back, one at a time, and has the
// hunter find each.
package hunt
