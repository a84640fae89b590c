package environment

// StartCertManager installs the definitions of cert-manager and starts its controllers, for all namespaces and until Stop.
// Only the first call does; those at the same time wait for it. Its log is cert-manager.log.
func (e *Environment) StartCertManager() error { return e.startCertManager() }

func (e *Environment) runCertManager() (err error) {
	if err := e.installCRDs(e.control.root, []string{"build/bin/cert-manager-crds"}); err != nil {
		return err
	}
	e.control.certManager, err = e.control.start("cert-manager", "--kubeconfig="+e.Kubeconfig, "-v=2")
	return err
}
