// Laid over kube-score 1.20.0: since Kubernetes 1.34 the interface of labels has a method more. kube-score's main branch
// has the same (its pull request 676); this goes with its next release.

package internal

// Lookup says, besides the value, whether the label is there.
func (l MapLabels) Lookup(label string) (string, bool) {
	value, found := l[label]
	return value, found
}
