"""A canary's users are always the same ones."""

from serve.versions.share import UserShare


def test_about_the_share_of_the_users_is_drawn() -> None:
    users = UserShare("shop", 0.1)
    assert 900 < sum(user_id in users for user_id in range(10_000)) < 1_100


def test_a_user_is_drawn_by_whatever_process_and_however_the_id_is_written() -> None:
    drawn = [user_id in UserShare("shop", 0.3) for user_id in range(100)]
    assert drawn == [str(user_id) in UserShare("shop", 0.3) for user_id in range(100)]


def test_a_larger_share_keeps_the_users_of_a_smaller_one() -> None:
    few, many = UserShare("shop", 0.05), UserShare("shop", 0.5)
    assert all(user_id in many for user_id in range(1_000) if user_id in few)


def test_another_recommender_draws_other_users() -> None:
    shop, feed = UserShare("shop", 0.5), UserShare("feed", 0.5)
    assert 400 < sum((i in shop) == (i in feed) for i in range(1_000)) < 600
