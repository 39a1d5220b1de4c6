"""Callbacks of scikit-learn 1.9 and later; with an earlier one there are none."""

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # pragma: no cover

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method):
        """Return the method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "FitTask", "with_callbacks"]


class FitTask:
    """What the callbacks of an estimator are told of its fit: that it began, each epoch, that it ended."""

    def __init__(self, estimator, X, y, sample_weight, max_iter):
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"X": X, "y": y, "metadata": metadata}
        self.context = None
        if hasattr(estimator, "_init_callback_context"):
            self.context = estimator._init_callback_context(max_subtasks=max_iter)
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin_epoch(self):
        """Tell that an epoch begins, and return its context."""
        if self.context is None:
            return None
        epoch = self.context.subcontext(task_name="epoch")
        return epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, epoch, attributes):
        """Tell that it ended, ``attributes`` being a function that returns the fitted ones, and whether to stop."""
        if epoch is None:
            return False
        return epoch.call_on_fit_task_end(estimator=self.estimator, **self.data, reconstruction_attributes=attributes)

    def end(self):
        """Tell that the fit ended."""
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.estimator, **self.data, reconstruction_attributes=dict)
