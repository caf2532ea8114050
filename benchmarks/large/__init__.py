"""What each large modern GAN must show, a module each."""
