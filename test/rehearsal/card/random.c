// cuRAND without a card: the provider is linked with it and asks nothing of it.
typedef int nothing;
