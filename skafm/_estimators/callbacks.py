"""The calls that a fit makes to scikit-learn's callbacks."""


class FitTask:
    """Notifies the callbacks of an estimator: the fit begins, each epoch begins and ends, the fit ends."""

    def __init__(self, estimator, X, y, max_iter, **metadata):
        self.estimator = estimator
        given = {name: value for name, value in metadata.items() if value is not None}
        self.data = {"X": X, "y": y, "metadata": given or None}
        self.context = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_iter)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin_epoch(self):
        """Notify that an epoch begins, and return its context."""
        if self.context is None:
            return None
        epoch = self.context.subcontext(task_name="epoch")
        return epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, epoch, attributes):
        """Notify that an epoch ends, and return whether to stop; ``attributes()`` returns the fitted attributes."""
        if epoch is None:
            return False
        return epoch.call_on_fit_task_end(estimator=self.estimator, **self.data, reconstruction_attributes=attributes)

    def end(self):
        """Notify that the fit ends."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.data, reconstruction_attributes=dict)
